// The names of the files in a store's folder, and CURRENT, the one file that says which manifest counts.
internal import CEngine
internal import FileIO

enum StoreFile: Hashable {
    case table(UInt64)
    case manifest(UInt64)
    case current
    case lock
    /// Left over from an interrupted replacement.
    case temporary

    /// Digits of a number in a name; more are used when it grows.
    private static let digits = 6

    var name: String {
        switch self {
        case .table(let number): Self.padded(number) + ".sst"
        case .manifest(let number): "MANIFEST-" + Self.padded(number)
        case .current: "CURRENT"
        case .lock: "LOCK"
        case .temporary: "CURRENT.tmp"
        }
    }

    /// Nil for a name that no store makes.
    init?(_ name: String) {
        if name == "CURRENT" {
            self = .current
        } else if name == "LOCK" {
            self = .lock
        } else if name == "CURRENT.tmp" {
            self = .temporary
        } else if name.hasSuffix(".sst"), let number = Self.number(name.dropLast(4)) {
            self = .table(number)
        } else if name.hasPrefix("MANIFEST-"), let number = Self.number(name.dropFirst(9)) {
            self = .manifest(number)
        } else {
            return nil
        }
    }

    private static func number(_ text: Substring) -> UInt64? {
        UInt64(text).flatMap { $0 < StorageLimits.countMax ? $0 : nil }
    }

    private static func padded(_ number: UInt64) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
}

/// CURRENT: one line, the manifest's number and the CRC-32C of its digits, both decimal.
enum CurrentFile {
    static func encode(_ number: UInt64) -> [UInt8] {
        let digits = Array(String(number).utf8)
        return digits + Array(" \(strata_crc32c(0, digits, digits.count))\n".utf8)
    }

    /// The number of the manifest that counts, or nil when there is no CURRENT.
    static func read(directory: String, fileSystem: any FileSystem) throws(StorageError) -> UInt64? {
        let path = directory + "/" + StoreFile.current.name
        let bytes = try disk { () throws(FileIOError) in try fileSystem.readFile(path) }
        guard let bytes else { return nil }
        let text = bytes.prefix { $0 != UInt8(ascii: " ") }
        guard let number = UInt64(String(decoding: text, as: UTF8.self)), bytes == encode(number) else {
            throw .corruption(path: path, position: 0, detail: "it does not name a manifest")
        }
        return number
    }
}
