// The words of the switches on a command line: what is not a position of a switch is answered with those that are.
import ArgumentParser
import Memory
import Storage
import UringIO

enum SwitchWord {
    static func io(_ word: String) throws -> IOBackendKind { try position(of: "io", word) }
    static func allocator(_ word: String) throws -> AllocatorKind { try position(of: "allocator", word) }
    static func engine(_ word: String) throws -> StorageEngineKind { try position(of: "engine", word) }

    private static func position<Switch: RawRepresentable & CaseIterable>(
        of name: String, _ word: String
    ) throws -> Switch where Switch.RawValue == String {
        guard let position = Switch(rawValue: word) else {
            let words = Switch.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("'\(word)' is no position of --\(name); take one of \(words)")
        }
        return position
    }
}
