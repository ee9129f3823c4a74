// Where a number was measured: the machine, the kernel, the file system, the toolchain and the commit. Captured once at
// the start of a run; a field that can't be found out says "unknown" and never a guess.
internal import Foundation
internal import Glibc

/// The surroundings of one run.
public struct RunEnvironment: Codable, Hashable, Sendable {
    public var host: String
    public var kernel: String
    public var cpu: String
    public var vcpus: Int
    public var memoryBytes: UInt64
    /// `kvm`, `none`, …; from the CPU's flags and the machine's product name.
    public var hypervisor: String
    /// Of the folder that holds the nodes' data.
    public var fileSystem: String
    public var mountOptions: String
    public var swift: String
    /// `release` or `debug`: how this very program was built.
    public var build: String
    /// Full hash, or "unknown" outside a checkout.
    public var commit: String
    public var branch: String
    /// True when the checkout differed from its commit.
    public var dirty: Bool

    public static let unknown = "unknown"

    /// True when this program was compiled without optimization: its numbers mean nothing.
    public static var isDebugBuild: Bool {
        #if DEBUG
        true
        #else
        false
        #endif
    }

    /// Asks the machine; starts `git` and `swift` as short-lived processes.
    /// - Parameters:
    ///   - dataFolder: an existing folder on the file system that will hold the data.
    ///   - checkout: the package's folder, when the program stands in one.
    public static func capture(dataFolder: String, checkout: String?) -> RunEnvironment {
        let mount = mountPoint(of: dataFolder, mounts: text("/proc/self/mounts") ?? "")
        let cpuInfo = text("/proc/cpuinfo") ?? ""
        var names = utsname()
        uname(&names)
        let git = checkout.map { GitState.capture(folder: $0) }
        return RunEnvironment(
            host: string(names.nodename), kernel: string(names.release),
            cpu: field("model name", in: cpuInfo) ?? unknown, vcpus: sysconf(Int32(_SC_NPROCESSORS_ONLN)),
            memoryBytes: UInt64(max(0, sysconf(Int32(_SC_PHYS_PAGES)))) * UInt64(max(0, sysconf(Int32(_SC_PAGESIZE)))),
            hypervisor: hypervisor(cpuInfo), fileSystem: mount?.kind ?? unknown,
            mountOptions: mount?.options ?? unknown,
            swift: swiftVersion(), build: isDebugBuild ? "debug" : "release", commit: git?.commit ?? unknown,
            branch: git?.branch ?? unknown, dirty: git?.dirty ?? false)
    }

    /// The first seven digits, for names.
    public var shortCommit: String {
        commit == RunEnvironment.unknown ? "nocommit" : String(commit.prefix(7))
    }

    struct Mount: Hashable {
        var folder: String
        var kind: String
        var options: String
    }

    /// The entry of a mount table whose folder is the longest prefix of `path`.
    static func mountPoint(of path: String, mounts: String) -> Mount? {
        var best: Mount?
        for line in mounts.split(separator: "\n") {
            let fields = line.split(separator: " ", omittingEmptySubsequences: false)
            guard fields.count >= 4 else { continue }
            let folder = fields[1].replacing("\\040", with: " ")
            let holds = folder == "/" || path == folder || path.hasPrefix(folder + "/")
            if holds, folder.utf8.count >= best?.folder.utf8.count ?? 0 {
                best = Mount(folder: String(folder), kind: String(fields[2]), options: String(fields[3]))
            }
        }
        return best
    }

    private static func hypervisor(_ cpuInfo: String) -> String {
        guard let flags = field("flags", in: cpuInfo) else { return unknown }
        guard flags.split(separator: " ").contains("hypervisor") else { return "none" }
        let product = text("/sys/class/dmi/id/sys_vendor") ?? ""
        return product.isEmpty ? "yes" : product
    }

    private static func swiftVersion() -> String {
        let output = CommandCapture.run(["swift", "--version"])?.text ?? ""
        let words = output.split { $0 == " " || $0 == "\n" }
        if let at = words.firstIndex(of: "version"), at + 1 < words.count {
            return String(words[at + 1])
        }
        return unknown
    }

    static func field(_ name: String, in text: String) -> String? {
        for line in text.split(separator: "\n") where line.hasPrefix(name) {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, trimmed(parts[0]) == name else { continue }
            return trimmed(parts[1])
        }
        return nil
    }

    private static func trimmed(_ text: some StringProtocol) -> String {
        text.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    private static func text(_ path: String) -> String? {
        guard let data = FileManager.default.contents(atPath: path) else { return nil }
        return trimmed(String(decoding: data, as: UTF8.self))
    }

    private static func string<Name>(_ name: Name) -> String {
        withUnsafeBytes(of: name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}

/// What git says of a checkout.
struct GitState: Hashable {
    var commit: String
    var branch: String
    var dirty: Bool

    static func capture(folder: String) -> GitState {
        func git(_ arguments: String...) -> String? {
            guard let output = CommandCapture.run(["git", "-C", folder] + arguments), output.status == 0 else {
                return nil
            }
            return output.text
        }
        return GitState(
            commit: git("rev-parse", "HEAD") ?? RunEnvironment.unknown,
            branch: git("rev-parse", "--abbrev-ref", "HEAD") ?? RunEnvironment.unknown,
            dirty: git("status", "--porcelain", "--untracked-files=no").map { !$0.isEmpty } ?? false)
    }
}
