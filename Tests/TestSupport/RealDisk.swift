// The backend that tests of a real disk use: POSIX, or what STRATA_IO names, so that one run of the suites covers each.
// On io_uring lone operations go through the ring too: what the engine's own batches leave out would not be covered
// else.
public import FileIO
import Foundation
import PosixIO
import UringIO

public enum RealDisk {
    /// Serves all tests of the process.
    public static let fileSystem: any FileSystem = {
        let word = ProcessInfo.processInfo.environment["STRATA_IO"] ?? IOBackendKind.posix.rawValue
        guard let kind = IOBackendKind(rawValue: word) else {
            preconditionFailure("STRATA_IO=\(word) is no backend; take posix, uring or auto")
        }
        var options = UringOptions()
        options.batchMin = 1
        let backend = IOBackend(kind, options)
        print("tests of the real disk: \(backend.reason)")
        return backend.fileSystem
    }()
}
