import Foundation
import XCTest

/// Examples are the regions between `// begin: NAME` and `// end: NAME`.
final class RegionTests: XCTestCase {
    private let package = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    func test_examples_haveAtMostThirtyLines() throws {
        let regions = try regions()
        XCTAssertEqual(
            regions.keys.sorted(),
            [
                "device-protocol", "embedding", "flyingfox", "hummingbird-manager", "testing",
                "worker",
            ]
        )
        for (name, lines) in regions {
            XCTAssertFalse(lines.isEmpty, name)
            XCTAssertLessThanOrEqual(lines.count, 30, name)
        }
    }

    func test_readme_showsTheEmbeddingThatIsCompiled() throws {
        let embedding = try XCTUnwrap(regions()["embedding"])
        XCTAssertLessThanOrEqual(embedding.count, 15)
        let readme = package.appending(path: "../../README.md").standardizedFileURL
        let text = try String(contentsOf: readme, encoding: .utf8)
        let lines = text.components(separatedBy: "\n")
        let marker = try XCTUnwrap(lines.firstIndex(of: "<!-- example: embedding -->"))
        let block = lines[(marker + 1)...]
        XCTAssertEqual(block.first, "```swift")
        XCTAssertEqual(Array(block.dropFirst().prefix { $0 != "```" }), embedding)
    }

    private func regions() throws -> [String: [String]] {
        var found: [String: [String]] = [:]
        for folder in ["Sources", "Tests"] {
            let root = package.appending(path: folder).path
            for file in FileManager.default.enumerator(atPath: root)?.allObjects ?? [] {
                guard let file = file as? String, file.hasSuffix(".swift") else { continue }
                let text = try String(contentsOfFile: "\(root)/\(file)", encoding: .utf8)
                var name: String?
                for line in text.components(separatedBy: "\n") {
                    if line.hasPrefix("// begin: ") {
                        name = String(line.dropFirst("// begin: ".count))
                    } else if let open = name, line == "// end: \(open)" {
                        name = nil
                    } else if let open = name {
                        found[open, default: []].append(line)
                    }
                }
                XCTAssertNil(name, "\(file) does not end its example.")
            }
        }
        return found
    }
}
