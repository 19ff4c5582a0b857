#if Server
import ClusterRole
import Foundation
import NodeCertificates
import XCTest

/// A directory that is gone after the test.
final class Scratch {
    let path: String

    init() throws {
        path =
            FileManager.default.temporaryDirectory
            .appending(path: "reeve-certificates-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(
            atPath: path,
            withIntermediateDirectories: true
        )
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func callAsFunction(_ name: String) -> String { "\(path)/\(name)" }
}

/// A moment everything here happens at.
let start = Timestamp(milliseconds: 1_767_225_600_000)
let day = Duration.seconds(86_400)

/// The bytes of the first certificate of a PEM text.
func certificateBytes(_ pem: String) throws -> [UInt8] {
    let body = pem.split(separator: "\n").filter { !$0.hasPrefix("-----") }.joined()
    return Array(try XCTUnwrap(Data(base64Encoded: body)))
}

/// The code an asynchronous call fails with.
func code(_ body: () async throws -> Void) async -> String? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? any CodedError)?.codeName ?? "\(error)"
    }
}
#endif
