// A false wall clock for one process: the operating system has one clock for all, so a library that is preloaded moves
// it for the process alone (`clock-shift.c`, carried in this binary and compiled where it is needed). Never touches the
// machine's own clock.
import Foundation
import Glibc
import LabKit

/// The wall clock of one process, which can be set while it runs. Needs a C compiler (`cc`).
struct ClockShift {
    private let libraryPath: String
    private let shiftPath: String

    /// Whether there is a C compiler.
    static var isPossible: Bool { CommandCapture.run(["cc", "--version"])?.status == 0 }

    /// Compiles the library into `folder`, once for all processes of it, and starts with the true time.
    /// - Parameter name: of the process; names its file.
    init(folder: String, name: String) throws(LoadGenError) {
        libraryPath = folder + "/libclockshift.so"
        shiftPath = "\(folder)/\(name).clock-shift"
        if access(libraryPath, R_OK) != 0 { try Self.compile(to: libraryPath, in: folder) }
        do {
            try Data(count: MemoryLayout<Int64>.size).write(to: URL(fileURLWithPath: shiftPath))
        } catch {
            throw LoadGenError.failed("can't write \(shiftPath): \(error)")
        }
    }

    private static func compile(to path: String, in folder: String) throws(LoadGenError) {
        let source = folder + "/clock-shift.c"
        do {
            try Data(PackageResources.clock_shift_c).write(to: URL(fileURLWithPath: source))
        } catch {
            throw LoadGenError.failed("can't write \(source): \(error)")
        }
        let line = ["cc", "-shared", "-fPIC", "-O1", "-o", path, source, "-ldl"]
        guard let output = CommandCapture.run(line, deadlineSeconds: 60), output.status == 0 else {
            throw LoadGenError.failed("'\(line.joined(separator: " "))' failed: a false clock needs a C compiler")
        }
    }

    /// What the process must be started with.
    var environment: [String: String] { ["LD_PRELOAD": libraryPath, "CLOCK_SHIFT_FILE": shiftPath] }

    /// The same as words before a command line.
    var entry: [String] { ["/usr/bin/env"] + environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" } }

    /// Lets the process's wall clock run this far ahead of the true one, or behind; at once.
    func set(seconds: Double) throws(LoadGenError) {
        var nanoseconds = Int64(seconds * 1e9)
        let descriptor = open(shiftPath, O_WRONLY | O_CLOEXEC)
        // In place: the process has this very file in its memory.
        let count = descriptor < 0 ? -1 : pwrite(descriptor, &nanoseconds, MemoryLayout<Int64>.size, 0)
        if descriptor >= 0 { close(descriptor) }
        guard count == MemoryLayout<Int64>.size else {
            throw LoadGenError.failed("can't write \(shiftPath): \(String(cString: strerror(errno)))")
        }
    }
}
