// The faults that a running server's disk can be given, as people type them, and the wrapper that each becomes. For
// experiments only: a wrapped disk is slower, and what it does wrong is the point of it.
public import FileIO

/// One fault, such as `power-loss` or `disk-stall=500`.
public struct DiskFault: Sendable, Hashable, CustomStringConvertible {
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// What was not synced is kept in this process's memory, so that `kill -9` does what pulling the plug does.
        case powerLoss = "power-loss"
        /// One write or sync of 256 takes longer by the amount, in milliseconds.
        case stall = "disk-stall"
        /// Every sync and durable write takes longer by anything up to the amount, in milliseconds.
        case slow = "disk-slow"
        /// Writes fail (ENOSPC) once those of this process have taken the amount, in MiB.
        case full = "disk-full"
        /// From the call of that number on, each call on a file fails (EIO).
        case error = "disk-error"
        /// The sync or durable write of that number fails (EIO), once.
        case syncFailure = "sync-failure"
        /// What the file `disk-control` in the data folder says, while it is there: `stall` (each change waits) or
        /// `full` (writes fail with ENOSPC).
        case control = "disk-control"

        var standardAmount: UInt64 {
            switch self {
            case .powerLoss, .control: 0
            case .stall: 500
            case .slow: 5
            case .full: 64
            case .error: 1000
            case .syncFailure: 100
            }
        }
    }

    public let kind: Kind
    /// In the unit of its kind.
    public let amount: UInt64

    /// Amounts above this are typing errors.
    public static let amountMax: UInt64 = 1_000_000_000

    public init(_ kind: Kind, amount: UInt64? = nil) {
        self.kind = kind
        self.amount = amount ?? kind.standardAmount
    }

    /// Nil unless `text` is a kind's word, alone or with `=` and an amount between 1 and ``amountMax``.
    public init?(parsing text: String) {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard let kind = Kind(rawValue: String(parts[0])) else { return nil }
        guard parts.count == 2 else {
            self.init(kind)
            return
        }
        guard kind != .powerLoss, kind != .control, let amount = UInt64(parts[1]), amount >= 1, amount <= Self.amountMax
        else {
            return nil
        }
        self.init(kind, amount: amount)
    }

    public var description: String { amount == 0 ? kind.rawValue : "\(kind.rawValue)=\(amount)" }

    /// A disk that does everything through `base`, and this wrong.
    /// - Parameters:
    ///   - folder: where a power loss keeps files that have no durable name yet; on the same device as the data.
    ///   - seed: of what is left to chance.
    public func wrap(_ base: any FileSystem, folder: String, seed: UInt64) -> any FileSystem {
        kind == .powerLoss
            ? PowerLossFileSystem(base, folder: folder)
            : FaultyFileSystem(base, FaultClock(self, folder: folder, seed: seed))
    }
}
