// Folders for tests on the real disk: a fresh name each time, removed by the test that asked for it.
import Glibc

enum TemporaryFolder {
    static func make() -> String {
        var template = Array(
            ((getenv("TMPDIR").map { String(cString: $0) } ?? P_tmpdir) + "/strata-storage-XXXXXX").utf8CString)
        guard let made = mkdtemp(&template) else { preconditionFailure("no temporary folder can be made") }
        return String(cString: made)
    }
}
