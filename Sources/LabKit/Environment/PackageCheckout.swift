// Finds the package that an executable was built from, so that a debug build can rebuild itself and a report can name
// its commit.
internal import Foundation

/// A checkout of the package, found from one of its build products.
public struct PackageCheckout: Hashable, Sendable {
    /// Absolute.
    public var folder: String

    static let levelsMax = 12

    /// Walks up from `executable` to the nearest folder that holds a `Package.swift`. Symbolic links are resolved
    /// first.
    public static func containing(executable: String) -> PackageCheckout? {
        var folder = URL(fileURLWithPath: executable).resolvingSymlinksInPath().deletingLastPathComponent()
        for _ in 0..<levelsMax {
            if FileManager.default.fileExists(atPath: folder.appendingPathComponent("Package.swift").path) {
                return PackageCheckout(folder: folder.path)
            }
            let parent = folder.deletingLastPathComponent()
            if parent.path == folder.path { break }
            folder = parent
        }
        return nil
    }

    /// The running program's own file.
    public static func runningExecutable() throws(LabError) -> String {
        guard let path = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") else {
            throw LabError("/proc/self/exe can't be read, so the program can't find its own folder; mount /proc")
        }
        return path
    }
}
