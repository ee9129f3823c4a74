// `swift run` builds for debugging, and numbers of a debug build mean nothing. So a debug LoadGen builds the release
// products of its own checkout and becomes the release LoadGen, with the same arguments and the same process id.
import Foundation
import Glibc
import LabKit

enum ReleaseBuild {
    enum Decision: Hashable {
        /// This is a release build, or the user insists.
        case goOn
        /// A debug build outside of a checkout: it can't rebuild itself.
        case warn
        case rebuild(checkout: String, scratch: String)
    }

    /// What to do, from the facts; pure.
    static func decide(isDebug: Bool, isDebugAllowed: Bool, executable: String, checkout: String?) -> Decision {
        if !isDebug || isDebugAllowed { return .goOn }
        guard let checkout else { return .warn }
        // <scratch>/<triple>/debug/LoadGen
        let scratch = URL(fileURLWithPath: executable).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return .rebuild(checkout: checkout, scratch: scratch.path)
    }

    /// Builds the release products and replaces this process by the release LoadGen. Returns only if there is nothing
    /// to replace.
    static func enter(arguments: [String], isDebugAllowed: Bool) throws(LoadGenError) {
        guard RunEnvironment.isDebugBuild else { return }
        let executable: String
        do {
            executable = try PackageCheckout.runningExecutable()
        } catch {
            throw LoadGenError.failed(error.description)
        }
        let checkout = PackageCheckout.containing(executable: executable)?.folder
        switch decide(
            isDebug: true, isDebugAllowed: isDebugAllowed, executable: executable, checkout: checkout)
        {
        case .goOn:
            StandardError.write("debug build: the numbers mean nothing and the run is marked invalid\n")
        case .warn:
            StandardError.write(
                "this is a debug build and no Package.swift is above \(executable), so it can't rebuild itself: the "
                    + "numbers mean nothing and the run is marked invalid\n")
        case .rebuild(let checkout, let scratch):
            let path = try build(checkout: checkout, scratch: scratch)
            let argv: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
            execv(path, argv)
            throw LoadGenError.failed("can't start \(path): \(String(cString: strerror(errno)))")
        }
    }

    /// - Returns: the release LoadGen.
    private static func build(checkout: String, scratch: String) throws(LoadGenError) -> String {
        let base = ["swift", "build", "-c", "release", "--package-path", checkout, "--scratch-path", scratch]
        StandardError.write("debug build: building Server and LoadGen for release first (--debug-ok skips this)\n")
        for product in ["Server", "LoadGen"] {
            let line = base + ["--product", product]
            guard try run(line) == 0 else {
                throw LoadGenError.failed("the release build failed; try it by hand: " + line.joined(separator: " "))
            }
        }
        guard let output = CommandCapture.run(base + ["--show-bin-path"], deadlineSeconds: 60), output.status == 0,
            let folder = output.text.split(separator: "\n").last
        else {
            throw LoadGenError.failed("swift build does not say where it put the release build")
        }
        return folder + "/LoadGen"
    }

    /// Runs a command with its output on standard error; standard output belongs to the results.
    private static func run(_ line: [String]) throws(LoadGenError) -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, 2, 1)
        var argv: [UnsafeMutablePointer<CChar>?] = line.map { strdup($0) }
        argv.append(nil)
        defer { for argument in argv { free(argument) } }
        var pid: pid_t = 0
        let code = posix_spawnp(&pid, line[0], &actions, nil, argv, environ)
        guard code == 0 else {
            throw LoadGenError.failed("can't start \(line[0]): \(String(cString: strerror(code))); is it in PATH?")
        }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 {
            if errno != EINTR { return 1 }
        }
        return status & 0x7F == 0 ? (status >> 8) & 0xFF : 1
    }
}
