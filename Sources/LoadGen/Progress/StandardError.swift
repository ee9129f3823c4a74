// Words for the person at the terminal go to standard error; standard output carries results only.
import Glibc

enum StandardError {
    static var isTerminal: Bool { isatty(2) == 1 }

    /// Columns of the terminal; 80 when it does not say.
    static var columns: Int {
        var size = winsize()
        guard ioctl(2, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }

    static func write(_ text: String) {
        writeAll(text, to: 2)
    }
}

enum StandardOutput {
    static func write(_ text: String) {
        writeAll(text, to: 1)
    }
}

/// Gives up silently when nobody reads any more.
private func writeAll(_ text: String, to descriptor: Int32) {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
        let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { return }
        bytes = bytes.dropFirst(count)
    }
}
