// What can go wrong while measuring, in sentences that a person can act on.

internal import Glibc

/// A failure of the lab itself, not of the system under test.
public struct LabError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What happened and what to do.
    public var description: String

    public init(_ description: String) {
        self.description = description
    }

    /// A failed system call on `subject`, with errno's text.
    public init(_ call: String, _ subject: String, errno code: Int32, remedy: String = "") {
        description = "\(call) \(subject): \(String(cString: strerror(code)))" + (remedy.isEmpty ? "" : "; \(remedy)")
    }
}
