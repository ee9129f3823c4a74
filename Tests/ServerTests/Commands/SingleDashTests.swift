// The rewriting of one-dash options, as a table: names are rewritten, values never.
import Testing

@testable import Server

@Suite struct SingleDashTests {
    static let names: Set<String> = ["id", "topic", "message", "from-beginning", "list", "peers"]
    static let flags: Set<String> = ["from-beginning", "list"]

    @Test(arguments: [
        (["-id=node1"], ["--id=node1"]),
        (["-topic", "events"], ["--topic", "events"]),
        (["--topic", "events", "-from-beginning"], ["--topic", "events", "--from-beginning"]),
        (["-from-beginning", "-topic", "x"], ["--from-beginning", "--topic", "x"]),
        (["consume", "-topic", "-topic"], ["consume", "--topic", "-topic"]),
        (["--message", "-id"], ["--message", "-id"]),
        (["-message=-id=x", "-id", "y"], ["--message=-id=x", "--id", "y"]),
        (["--", "-id"], ["--", "-id"]),
        (["-h"], ["-h"]),
        (["-unknown", "-id"], ["-unknown", "--id"]),
        (["-"], ["-"]),
        (["--message", "--", "-id", "a"], ["--message", "--", "--id", "a"]),
        (["-5"], ["-5"]),
        (["-list", "-id", "a"], ["--list", "--id", "a"]),
        ([""], [""]),
        ([], []),
    ])
    func table(_ typed: [String], _ expected: [String]) {
        #expect(SingleDash.normalise(typed, longNames: Self.names, flags: Self.flags) == expected)
    }
}
