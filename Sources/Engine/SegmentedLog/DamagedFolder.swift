// Where the files of a damaged replica go while it is rebuilt: a folder beside the old place, under a name that no
// topic can have. They are kept for whoever wants to find out what happened, a few times; then they are removed, for a
// disk that damages its files again and again must not be filled with them.
public import FileIO

/// Folders that were set aside.
public enum DamagedFolder {
    /// Copies of one folder that are kept.
    public static let copiesMax = 3
    private static let infix = "~damaged-"

    /// Whether a folder's name is that of a set-aside one.
    public static func isName(_ name: String) -> Bool { name.contains(infix) }

    /// Gives a folder another name, so that its place is free; durable on return.
    /// - Returns: the new path; nil when there was no folder, or when it was removed because there are copies enough.
    public static func setAside(_ folder: String, fileSystem: any FileSystem) throws(SegmentedLogError) -> String? {
        try onDisk { () throws(FileIOError) in
            guard try fileSystem.exists(folder) else { return nil }
            var kept: String?
            for number in 1...copiesMax where kept == nil {
                let name = "\(folder)\(infix)\(number)"
                if try fileSystem.exists(name) { continue }
                try fileSystem.rename(folder, to: name)
                kept = name
            }
            if kept == nil { try fileSystem.removeTree(folder) }
            try fileSystem.syncDirectory(fileSystem.directory(of: folder))
            return kept
        }
    }

    /// As ``setAside(_:fileSystem:)`` for an operator's order, by which nothing may be thrown away: fails when there
    /// are copies enough. The folder must be there.
    /// - Returns: the new path.
    public static func keep(_ folder: String, fileSystem: any FileSystem) throws(SegmentedLogError) -> String {
        let isFree = try onDisk { () throws(FileIOError) in
            for number in 1...copiesMax where try !fileSystem.exists("\(folder)\(infix)\(number)") { return true }
            return false
        }
        guard isFree, let kept = try setAside(folder, fileSystem: fileSystem) else {
            throw SegmentedLogError(
                .incomplete,
                "\(copiesMax) damaged copies are kept beside it (\(infix)1 and so on): move one elsewhere, and order again",
                path: folder)
        }
        return kept
    }
}
