#if Server
internal import ClusterRole
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#elseif canImport(Darwin)
internal import Darwin
#endif

/// The directories of this machine whose trees may be published through the admin API.
///
/// A caller names a directory by its path. Without a list, whoever holds the permission to publish
/// could hand any file the manager's process can read to every worker; so nothing may be published
/// until the configuration says from where. Publishing from code
/// (`ArtifactPublisher.publish(_:to:tenant:options:)`) asks no list.
///
/// Both sides are compared after symbolic links are resolved. Whoever may write under a root decides
/// what is published from it: give roots to trusted accounts only.
public struct PublishRoots: Hashable, Sendable {
    /// The roots, resolved.
    public let directories: [String]

    /// Nothing may be published.
    public static let none = PublishRoots(resolved: [])

    private init(resolved directories: [String]) { self.directories = directories }

    /// A list of existing directories, by absolute path.
    ///
    /// - Throws: ``ManagerConsoleError`` with code `invalidPublishRoot`.
    public init(_ directories: [String]) throws(ManagerConsoleError) {
        var resolved: [String] = []
        for directory in directories {
            guard directory.hasPrefix("/"), let path = resolvedPath(directory) else {
                throw ManagerConsoleError(
                    .invalidPublishRoot,
                    "A publish root is the absolute path of an existing directory. Create \(directory), "
                        + "or take it out of the configuration."
                )
            }
            resolved.append(path)
        }
        self.directories = resolved
    }

    /// The path to publish, with its symbolic links resolved.
    ///
    /// - Throws: ``ManagerConsoleError`` with code `outsidePublishRoots` for a path that is relative or
    ///   lies under no root. Whether a path outside exists is not told.
    func resolve(_ directory: String) throws(ManagerConsoleError) -> String {
        if directory.hasPrefix("/"), !directory.utf8.contains(0) {
            if let path = resolvedPath(directory) {
                if contains(path) { return path }
            } else if contains(directory), !directory.split(separator: "/").contains("..") {
                // It does not exist: the publisher says so.
                return directory
            }
        }
        throw ManagerConsoleError(
            .outsidePublishRoots,
            "The directory lies under none of this manager's publish roots. Move it there, or have the "
                + "configuration name another root."
        )
    }

    /// The path of a file to write, its directory with links resolved. The same list is used for
    /// backups.
    ///
    /// - Throws: ``ManagerConsoleError`` with code `outsideBackupRoots`. Whether a path outside exists is
    ///   not told.
    func resolveNewFile(_ path: String) throws(ManagerConsoleError) -> String {
        if path.hasPrefix("/"), !path.utf8.contains(0), let slash = path.lastIndex(of: "/") {
            let name = path[path.index(after: slash)...]
            let parent = slash == path.startIndex ? "/" : String(path[..<slash])
            if !name.isEmpty, name != ".", name != "..", let directory = resolvedPath(parent),
                contains(directory)
            {
                return directory == "/" ? "/\(name)" : "\(directory)/\(name)"
            }
        }
        throw ManagerConsoleError(
            .outsideBackupRoots,
            "The file lies in no existing directory under this manager's backup roots. Name one there, or "
                + "have the configuration name another root."
        )
    }

    private func contains(_ path: String) -> Bool {
        directories.contains { root in
            path == root || root == "/" || path.hasPrefix(root + "/")
        }
    }
}

/// `path` without links and dots; `nil` if it does not exist.
private func resolvedPath(_ path: String) -> String? {
    guard let buffer = realpath(path, nil) else { return nil }
    defer { free(buffer) }
    return String(validatingCString: buffer)
}
#endif
