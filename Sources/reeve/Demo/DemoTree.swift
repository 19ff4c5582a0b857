#if Server && SQLite && Push
import Foundation

/// The artifact the demonstration makes when it is given none: a small web application of a few hundred
/// files, with a link, an empty directory and an executable.
enum DemoTree {
    static let fileCount = 320

    /// Writes the first release to `directory`.
    static func make(at directory: URL) throws {
        let files = FileManager.default
        for index in 0..<fileCount {
            let folder = directory.appendingPathComponent("assets/part-\(index % 16)")
            try files.createDirectory(at: folder, withIntermediateDirectories: true)
            try page(index, edition: 1).write(
                to: folder.appendingPathComponent("page-\(index).html"),
                atomically: false,
                encoding: .utf8
            )
        }
        let script = directory.appendingPathComponent("start.sh")
        try "#!/bin/sh\nexec echo serving\n".write(to: script, atomically: false, encoding: .utf8)
        try files.setAttributes([.posixPermissions: 0o755], ofItemAtPath: script.path)
        try files.createSymbolicLink(
            atPath: directory.appendingPathComponent("index.html").path,
            withDestinationPath: "assets/part-0/page-0.html"
        )
        try files.createDirectory(
            at: directory.appendingPathComponent("uploads"),
            withIntermediateDirectories: true
        )
    }

    /// Writes the second release: a copy of the first in which a few files changed, one came, one went.
    static func makeUpdate(of first: URL, at directory: URL) throws {
        try make(at: directory)
        for index in stride(from: 0, to: fileCount, by: 40) {
            try page(index, edition: 2).write(
                to: directory.appendingPathComponent(
                    "assets/part-\(index % 16)/page-\(index).html"
                ),
                atomically: false,
                encoding: .utf8
            )
        }
        try "second edition\n".write(
            to: directory.appendingPathComponent("NEWS"),
            atomically: false,
            encoding: .utf8
        )
        try FileManager.default.removeItem(
            at: directory.appendingPathComponent("assets/part-1/page-1.html")
        )
    }

    private static func page(_ index: Int, edition: Int) -> String {
        var text = "<!doctype html>\n<title>Page \(index), edition \(edition)</title>\n"
        var state = UInt64(index + 1)
        for line in 0..<60 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            text += "<p id=\"p\(line)\">Paragraph \(line) of page \(index): \(state >> 20)</p>\n"
        }
        return text
    }
}
#endif
