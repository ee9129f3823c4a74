// Help is that of the subcommand that was asked about, in both ways to ask.
import ArgumentParser
import Testing

@testable import LoadGen

@Suite struct HelpTests {
    @Test(arguments: [["failover", "--help"], ["help", "failover"], ["failover", "-h"]])
    func aSubcommandTellsItsOwnOptions(arguments: [String]) throws {
        let text = Main.help(try LoadGenCommand.parseAsRoot(arguments))
        #expect(text.contains("--fault"))
        #expect(text.contains("--trials"))
    }

    @Test(arguments: [["--help"], ["help"]]) func theRootTellsItsSubcommands(arguments: [String]) throws {
        let text = Main.help(try LoadGenCommand.parseAsRoot(arguments))
        #expect(text.contains("failover"))
        #expect(text.contains("chaos"))
    }
}
