internal import Configuration
internal import Foundation

/// What a configuration artifact must keep to.
public struct ConfigurationLimits: Hashable, Sendable {
    /// The most files that are read. 256.
    public var files = 256
    /// The longest file, in bytes. 1 MiB.
    public var fileBytes = 1 << 20
    /// How deep JSON may be nested; checked before it is parsed. 32.
    public var depth = 32

    /// The defaults.
    public init() {}
}

/// A configuration artifact's files, parsed: `.json`, and `.env` with a `NAME=value` on each line.
///
/// Files are read in the order of their names, directories included; of two that have a key, the
/// later one wins. Other files are left alone.
struct ConfigurationTree {
    /// One for each file; the last has the first word.
    let snapshots: [any ConfigSnapshot]

    /// - Throws: ``ArtifactConfigurationError`` that names the file, and the line of an `.env` file.
    init(directory: String, limits: ConfigurationLimits) throws {
        let names = try Self.files(in: directory)
        guard names.count <= limits.files else {
            throw ArtifactConfigurationError(
                "The artifact has \(names.count) configuration files; the limit is \(limits.files)."
            )
        }
        snapshots = try names.map { name in
            let url = URL(fileURLWithPath: "\(directory)/\(name)")
            let size = try url.resourceValues(forKeys: [.fileSizeKey]).fileSize ?? 0
            guard size <= limits.fileBytes else {
                throw ArtifactConfigurationError(
                    "\(name) has \(size) bytes; the limit is \(limits.fileBytes)."
                )
            }
            let data = try Data(contentsOf: url)
            return name.hasSuffix(".json")
                ? try Self.parseJSON(data, name, depth: limits.depth) : try Self.parse(data, name)
        }
    }

    private static func files(in directory: String) throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: directory)
            .filter { $0.hasSuffix(".json") || $0.hasSuffix(".env") }
            .filter { name in
                var isDirectory: ObjCBool = false
                let path = "\(directory)/\(name)"
                return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory)
                    && !isDirectory.boolValue
            }
            .sorted()
    }

    private static func parseJSON(
        _ data: Data,
        _ name: String,
        depth limit: Int
    ) throws -> any ConfigSnapshot {
        guard depth(of: data) <= limit else {
            throw ArtifactConfigurationError("\(name) is nested deeper than \(limit) levels.")
        }
        do {
            return try JSONSnapshot(
                data: data.bytes,
                providerName: name,
                parsingOptions: .default
            )
        } catch {
            throw ArtifactConfigurationError("\(name) is no JSON configuration: \(error)")
        }
    }

    /// The deepest nesting of arrays and objects, strings left out.
    private static func depth(of data: Data) -> Int {
        var (depth, deepest) = (0, 0)
        var (isText, isEscaped) = (false, false)
        for byte in data {
            if isEscaped {
                isEscaped = false
            } else if isText {
                if byte == UInt8(ascii: "\\") { isEscaped = true }
                if byte == UInt8(ascii: "\"") { isText = false }
            } else {
                switch byte {
                case UInt8(ascii: "\""): isText = true
                case UInt8(ascii: "{"), UInt8(ascii: "["):
                    depth += 1
                    deepest = max(deepest, depth)
                case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
                default: break
                }
            }
        }
        return deepest
    }

    private static func parse(_ data: Data, _ name: String) throws -> any ConfigSnapshot {
        guard let text = String(data: data, encoding: .utf8) else {
            throw ArtifactConfigurationError("\(name) is not UTF-8.")
        }
        var values: [String: String] = [:]
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            let line = line.trimmingCharacters(in: .whitespaces)
            if line.isEmpty || line.hasPrefix("#") { continue }
            let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let key = parts[0].trimmingCharacters(in: .whitespaces)
            guard parts.count == 2, !key.isEmpty else {
                throw ArtifactConfigurationError(
                    "Line \(index + 1) of \(name) is not written NAME=value."
                )
            }
            values[key] = unquoted(parts[1].trimmingCharacters(in: .whitespaces))
        }
        return EnvironmentVariablesProvider(environmentVariables: values).snapshot()
    }

    private static func unquoted(_ text: String) -> String {
        for quote in ["\"", "'"]
        where text.count >= 2 && text.hasPrefix(quote) && text.hasSuffix(quote) {
            return String(text.dropFirst().dropLast())
        }
        return text
    }
}
