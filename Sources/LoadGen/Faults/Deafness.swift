// Makes a socket lose every packet that comes for it, without root: a filter that keeps nothing, on that socket alone.
// The other end sees what a dead network shows: no acknowledgements, no refusals, connections that hang; its kernel
// sends again by its own timers, which go on after the filter is gone. Linux only.
import Glibc

enum Deafness {
    /// SO_ATTACH_FILTER and SO_DETACH_FILTER of Linux, which Glibc's module does not show.
    private static let attach: Int32 = 26
    private static let detach: Int32 = 27
    /// One instruction of a classic filter, `ret #0`: code 6, everything else 0.
    private static let keepNothing: UInt64 = 6

    /// `sock_fprog`: the number of instructions and where they are.
    private struct Program {
        var count: UInt16
        var instructions: UnsafeMutablePointer<UInt64>
    }

    /// - Returns: false when the kernel refuses.
    static func set(_ isDeaf: Bool, on socket: Int32) -> Bool {
        guard isDeaf else {
            var unused: Int32 = 0
            return setsockopt(socket, SOL_SOCKET, detach, &unused, socklen_t(MemoryLayout<Int32>.size)) == 0
        }
        var instruction = keepNothing.littleEndian
        return withUnsafeMutablePointer(to: &instruction) { instruction in
            var program = Program(count: 1, instructions: instruction)
            return setsockopt(socket, SOL_SOCKET, attach, &program, socklen_t(MemoryLayout<Program>.size)) == 0
        }
    }
}
