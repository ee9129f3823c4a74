// Programs that tests start: the built executables of this package and the shell, with their output kept, and an end
// for each of them however the test ends.
import Foundation
import Synchronization

/// The result of a program that has ended.
public struct ProgramResult: Sendable {
    public var status: Int32
    public var output: String
    public var errors: String
}

/// A running program whose output goes to files.
public final class Program: @unchecked Sendable {
    // Unchecked: `process` is started once in init and only signalled and waited for afterwards.
    private let process = Process()
    private let outputPath: String
    private let errorsPath: String

    public init(
        _ executable: String, _ arguments: [String], folder: String, name: String,
        environment: [String: String] = [:]
    ) throws {
        outputPath = "\(folder)/\(name).out"
        errorsPath = "\(folder)/\(name).err"
        for path in [outputPath, errorsPath] where !FileManager.default.fileExists(atPath: path) {
            FileManager.default.createFile(atPath: path, contents: nil)
        }
        guard let output = FileHandle(forWritingAtPath: outputPath),
            let errors = FileHandle(forWritingAtPath: errorsPath)
        else { throw TestFailure("can't write to \(folder)") }
        output.seekToEndOfFile()
        errors.seekToEndOfFile()
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        // What tests themselves are told by (STRATA_KILL_SEED, …) is no setting of a server, which would refuse it.
        process.environment = ProcessInfo.processInfo.environment
            .filter { !$0.key.hasPrefix("STRATA_") || $0.key == "STRATA_IO" }.merging(environment) { $1 }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = errors
        try process.run()
    }

    deinit {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    }

    public var isRunning: Bool { process.isRunning }
    public var identifier: Int32 { process.processIdentifier }
    public var output: String { (try? String(contentsOfFile: outputPath, encoding: .utf8)) ?? "" }
    public var errors: String { (try? String(contentsOfFile: errorsPath, encoding: .utf8)) ?? "" }

    public func signal(_ number: Int32) {
        if process.isRunning { kill(process.processIdentifier, number) }
    }

    /// Waits for the end; kills the program and throws when it takes too long.
    @discardableResult
    public func wait(seconds: Double) throws -> ProgramResult {
        let deadline = Date().addingTimeInterval(seconds)
        while process.isRunning {
            guard Date() < deadline else {
                kill(process.processIdentifier, SIGKILL)
                throw TestFailure(
                    "\(process.arguments ?? []) did not end within \(seconds) s; it said: \(errors.suffix(2000))")
            }
            usleep(5_000)
        }
        return ProgramResult(status: process.terminationStatus, output: output, errors: errors)
    }

    /// Runs a program to its end.
    public static func run(
        _ executable: String, _ arguments: [String], folder: String, seconds: Double = 60,
        environment: [String: String] = [:]
    ) throws -> ProgramResult {
        let name = "run-\(UUID().uuidString)"
        return try Program(executable, arguments, folder: folder, name: name, environment: environment)
            .wait(seconds: seconds)
    }

    /// Runs a line of shell to its end.
    public static func shell(_ line: String, folder: String, seconds: Double = 60) throws -> ProgramResult {
        try run("/bin/bash", ["-c", line], folder: folder, seconds: seconds, environment: ["PATH": shellPath])
    }

    /// Products of this package first, so that `Server` and `LoadGen` are found as a user types them.
    private static var shellPath: String {
        productsFolder + ":" + (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin")
    }

    /// Where this package's executables were built: beside the test bundle itself.
    public static var productsFolder: String {
        URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath().deletingLastPathComponent().path
    }

    public static var server: String { productsFolder + "/Server" }
    public static var loadGen: String { productsFolder + "/LoadGen" }
}

/// Repeats `check` until it holds.
public func eventually(
    _ what: String, seconds: Double = 20, _ check: () throws -> Bool
) throws {
    let deadline = Date().addingTimeInterval(seconds)
    while true {
        if (try? check()) == true { return }
        guard Date() < deadline else { throw TestFailure("not within \(seconds) s: \(what)") }
        usleep(20_000)
    }
}
