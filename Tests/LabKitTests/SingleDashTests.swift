// One dash or two: names are rewritten, values never.
import LabKit
import Testing

@Suite struct SingleDashTests {
    @Test(arguments: [
        (["-id=node1"], ["--id=node1"]),
        (["-id", "node1"], ["--id", "node1"]),
        (["--id", "-verbose"], ["--id", "-verbose"]),
        (["-id", "-id"], ["--id", "-id"]),
        (["-verbose", "-id", "x"], ["--verbose", "--id", "x"]),
        (["-h"], ["-h"]),
        (["-v", "--id=a"], ["-v", "--id=a"]),
        (["-unknown", "-id", "a"], ["-unknown", "--id", "a"]),
        (["--", "-id", "a"], ["--", "-id", "a"]),
        (["-id"], ["--id"]),
        (["-"], ["-"]),
        ([], []),
    ])
    func table(arguments: [String], expected: [String]) {
        #expect(SingleDash.normalise(arguments, options: ["id"], flags: ["verbose"]) == expected)
    }
}
