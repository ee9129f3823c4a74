// Where LoadGen begins: reads the command line, runs the command on the main thread, and turns what happened into an
// exit status.
import ArgumentParser
import Glibc
import LabKit

@main
enum Main {
    static func main() {
        let arguments = SingleDash.normalise(
            Array(CommandLine.arguments.dropFirst()), options: LabOptions.valueNames, flags: LabOptions.flagNames)
        exit(run(arguments).rawValue)
    }

    private static func run(_ arguments: [String]) -> ExitStatus {
        let command: any ParsableCommand
        do {
            command = try LoadGenCommand.parseAsRoot(StorageCommand.normalise(arguments))
        } catch {
            let text = LoadGenCommand.fullMessage(for: error) + "\n"
            guard LoadGenCommand.exitCode(for: error) == .success else {
                StandardError.write(text)
                return .usage
            }
            StandardOutput.write(text)
            return .success
        }
        if let storage = command as? StorageCommand {
            do throws(LoadGenError) {
                return try StorageRun.run(storage, arguments: arguments)
            } catch {
                StandardError.write("LoadGen: \(error)\n")
                return error.exitCode
            }
        }
        if let disk = command as? DiskCommand {
            do throws(LoadGenError) {
                try ReleaseBuild.enter(arguments: arguments, isDebugAllowed: false)
                StandardOutput.write(try DiskBench.run(disk) + "\n")
                return .success
            } catch {
                StandardError.write("LoadGen: \(error)\n")
                return error.exitCode
            }
        }
        guard let lab = command as? any LabCommand else {
            StandardOutput.write(help(command) + "\n")
            return .success
        }
        do throws(LoadGenError) {
            return try LabRun.run(lab, arguments: arguments)
        } catch {
            StandardError.write("LoadGen: \(error)\n")
            return error.exitCode
        }
    }

    /// `--help` arrives as a command of its own, which knows whose help is asked for and says it by failing.
    static func help(_ command: any ParsableCommand) -> String {
        var command = command
        do {
            try command.run()
            return LoadGenCommand.helpMessage()
        } catch {
            return LoadGenCommand.fullMessage(for: error)
        }
    }
}
