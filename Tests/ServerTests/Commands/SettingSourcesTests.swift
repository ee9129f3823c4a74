// Every way to write a setting wrongly is refused with its name, what was found and what is expected; the natural ways
// to write it rightly are all taken. What is refused must never be skipped: a node that overlooks `peers` forms a
// cluster alone.
import Configuration
import Foundation
import Logging
import Testing

@testable import Server

@Suite struct SettingSourcesTests {
    private func file(_ json: String) throws -> ServerConfiguration {
        try ServerConfiguration(
            config: ConfigReader(providers: [SettingValues(source: "the file", json: Array(json.utf8)).provider]))
    }

    private func environment(_ values: [String: String]) throws -> ServerConfiguration {
        try ServerConfiguration(
            config: ConfigReader(providers: [SettingValues(environment: values).provider]))
    }

    @Test(arguments: [
        #"{"strata":{"id":"a","address":":1","peers":[":2",":3"],"peer":{"port":4},"join":true,"stall":{"limit":50}}}"#,
        #"{"strata":{"id":"a","address":":1","peers":":2, :3","peer":{"port":"4"},"join":"true","stall":{"limit":"50"}}}"#,
        #"{"strata":{"id":"a","port":1,"peers":["127.0.0.1:2","127.0.0.1:3"],"peer":{"port":4},"join":true,"stall":{"limit":50}}}"#,
    ])
    func naturalTypesAreTaken(json: String) throws {
        let found = try file(json)
        #expect(found.peers.map(\.description) == ["127.0.0.1:2", "127.0.0.1:3"])
        #expect(found.peerPort == 4 && found.isJoining && found.stallLimit == 50 && found.address.port == 1)
    }

    @Test func fewWordsAreEnough() throws {
        #expect(try file(#"{"strata":{}}"#).peers == [])
        #expect(try file(#"{"strata":{"peers":[]}}"#).peers == [])
        #expect(try file(#" { "strata" : { "fault" : ["power-loss", "disk-stall=20"] } } "#).faults.count == 2)
        #expect(try !file(#"{"strata":{"join":false}}"#).isJoining)
    }

    @Test(arguments: [
        // Found by whoever wrote it: what is not JSON, and where.
        ("", "is not JSON", "line 1, column 1: it is empty"), ("  \n", "is not JSON", "line 2, column 1"),
        ("{", "is not JSON", "column 2"), ("strata: {}", "is not JSON", "line 1, column 1"),
        ("{\"strata\":\n{\"id\":}}", "is not JSON", "line 2, column 7"),
        ("{\"strata\":{}} x", "is not JSON", "follows"),
        ("{'strata':{}}", "is not JSON", "a name in quotes"), ("{\"strata\":{},}", "is not JSON", "a name in quotes"),
        (#"{"strata":{"id":"a","id":"b"}}"#, "\"id\" stands twice", "column 21"),
        (#"{"strata":{},"strata":{}}"#, "stands twice", "strata"),
        // The wrong shape.
        ("[]", "a list", "an object is expected"), ("null", "null", "an object is expected"),
        ("{}", "no \"strata\"", "write"),
        (#"{"strata":null}"#, "'strata' is null", "an object"), (#"{"strata":[]}"#, "'strata' is a list", "an object"),
        (#"{"address":":1"}"#, "'address'", "belongs within \"strata\""),
        (#"{"strata":{},"id":"a"}"#, "'id'", "within"),
        (#"{"Strata":{}}"#, "'Strata'", "did you mean 'strata'"), (#"{"stratum":{}}"#, "'stratum'", "'strata'"),
        // Unknown names.
        (#"{"strata":{"peer":":2"}}"#, "'strata.peer' is the text \":2\"", "'strata.peer.port'"),
        (#"{"strata":{"pears":":2"}}"#, "'strata.pears'", "did you mean 'strata.peers'"),
        (#"{"strata":{"adress":":2"}}"#, "'strata.adress'", "did you mean 'strata.address'"),
        (#"{"strata":{"Join":true}}"#, "'strata.Join'", "did you mean 'strata.join'"),
        (#"{"strata":{"peer.port":1}}"#, "'strata.peer.port'", "nested: \"peer\": {\"port\""),
        (#"{"strata":{"peer-port":1}}"#, "'strata.peer-port'", "nested"),
        (#"{"strata":{"log":{"levle":"info"}}}"#, "'strata.log.levle'", "did you mean 'strata.log.level'"),
        (#"{"strata":{"xyzzyxyzzy":1}}"#, "'strata.xyzzyxyzzy'", "known are strata.id"),
        (#"{"strata":{"strata":{"id":"a"}}}"#, "'strata.strata'", "known"),
        // Values of other types.
        (#"{"strata":{"peers":7}}"#, "'strata.peers' is the number 7", "a list of texts"),
        (#"{"strata":{"peers":[7]}}"#, "'strata.peers' is a list", "each host:port"),
        (#"{"strata":{"peers":[":2,:3"]}}"#, "'strata.peers' is a list", "each host:port"),
        (#"{"strata":{"peers":[":2",null]}}"#, "'strata.peers' is a list", "each host:port"),
        (#"{"strata":{"peers":{"a":":2"}}}"#, "'strata.peers' is an object", "host:port"),
        (#"{"strata":{"peers":["nowhere"]}}"#, "'strata.peers' is a list", "host:port"),
        (#"{"strata":{"peers":":2,,:3"}}"#, "'strata.peers' is the text", "host:port"),
        (#"{"strata":{"join":"yes"}}"#, "'strata.join' is the text \"yes\"", "true or false"),
        (#"{"strata":{"join":1}}"#, "'strata.join' is the number 1", "true or false"),
        (#"{"strata":{"join":null}}"#, "'strata.join' is null", "no such key for the default"),
        (#"{"strata":{"id":1}}"#, "'strata.id' is the number 1", "letters"),
        (#"{"strata":{"id":"a/b"}}"#, "'strata.id' is the text \"a/b\"", "letters"),
        (#"{"strata":{"id":{"name":"a"}}}"#, "'strata.id' is an object", "letters"),
        (#"{"strata":{"address":7001}}"#, "'strata.address' is the number 7001", "host:port"),
        (#"{"strata":{"address":":70000"}}"#, "'strata.address' is the text \":70000\"", "host:port"),
        (#"{"strata":{"port":70000}}"#, "'strata.port' is the number 70000", "0 to 65535"),
        (#"{"strata":{"port":-1}}"#, "'strata.port' is the number -1", "0 to 65535"),
        (#"{"strata":{"port":1.5}}"#, "'strata.port' is the number 1.5", "whole"),
        (#"{"strata":{"port":1e3}}"#, "'strata.port' is the number 1e3", "whole"),
        (#"{"strata":{"port":1,"address":":2"}}"#, "strata.address or strata.port", "not both"),
        (#"{"strata":{"peer":{"port":"many"}}}"#, "'strata.peer.port' is the text \"many\"", "65535"),
        (#"{"strata":{"log":{"retained":0}}}"#, "'strata.log.retained' is the number 0", "from 1"),
        (#"{"strata":{"log":{"retained":99999999999999999999}}}"#, "'strata.log.retained'", "bytes"),
        (#"{"strata":{"snapshot":{"rate":-5}}}"#, "'strata.snapshot.rate'", "bytes a second"),
        (#"{"strata":{"stall":{"limit":49}}}"#, "'strata.stall.limit'", "50 to 60000"),
        (#"{"strata":{"stall":{}  ,"leases":true}}"#, "'strata.leases' is true", "one of off, on"),
        (#"{"strata":{"engine":"LSM"}}"#, "'strata.engine' is the text \"LSM\"", "lsm, hashlog"),
        (#"{"strata":{"data":""}}"#, "'strata.data'", "not empty"),
        (#"{"strata":{"fault":"pull-plug"}}"#, "'strata.fault'", "power-loss"),
        (#"{"strata":{"log":{"level":"loud"}}}"#, "'strata.log.level' is the text \"loud\"", "info"),
    ])
    func aWrongFileIsRefusedByKey(json: String, found: String, expected: String) {
        let error = #expect(throws: ServerError.self) { try file(json) }
        let words = error?.description ?? ""
        #expect(words.hasPrefix("the file"), "\(words)")
        #expect(words.contains(found) && words.contains(expected), "\(words)")
    }

    @Test func theEnvironmentIsTaken() throws {
        let found = try environment([
            "STRATA_ADDRESS": ":1", "STRATA_PEERS": "b=:2,:3", "STRATA_JOIN": "true", "STRATA_PEER_PORT": "4",
            "STRATA_LOG_LEVEL": "debug", "PATH": "/bin", "STRATA_CONFIG": "x.json",
        ])
        #expect(found.peers.count == 2 && found.isJoining && found.peerPort == 4 && found.logLevel == .debug)
    }

    @Test func theServiceVariablesOfKubernetesAreNoSettings() throws {
        let found = try environment([
            "STRATA_SERVICE_HOST": "10.0.0.1", "STRATA_SERVICE_PORT": "9092", "STRATA_SERVICE_PORT_GRPC": "9092",
            "STRATA_PORT": "tcp://10.0.0.1:9092", "STRATA_PORT_9092_TCP": "tcp://10.0.0.1:9092",
            "STRATA_PORT_9092_TCP_ADDR": "10.0.0.1", "STRATA_PORT_9092_TCP_PROTO": "tcp",
            "STRATA_HEADLESS_SERVICE_HOST": "None", "STRATA_HEADLESS_PORT": "tcp://None:9092",
        ])
        #expect(found.address.port == 9092 && found.peers.isEmpty)
    }

    @Test(arguments: [
        ("STRATA_PEER", ":2", "did you mean 'STRATA_PEERS'"), ("STRATA_ADRESS", ":2", "did you mean 'STRATA_ADDRESS'"),
        ("STRATA_PEERPORT", "2", "did you mean 'STRATA_PEER_PORT'"), ("STRATA_XYZZYXYZZY", "2", "known are"),
        ("STRATA_JOIN", "yes", "true or false"), ("STRATA_JOIN", "", "true or false"),
        ("STRATA_PEER_PORT", "70000", "0 to 65535"), ("STRATA_PORT", "-1", "0 to 65535"),
        ("STRATA_ADDRESS", "nowhere", "host:port"), ("STRATA_LOG_LEVEL", "INFO", "one of"),
        ("STRATA_ID", "a b", "letters"),
    ])
    func aWrongVariableIsRefusedByName(variable: String, text: String, words: String) {
        let error = #expect(throws: ServerError.self) { try environment([variable: text]) }
        #expect(error?.description.contains("environment variable \(variable) ") == true)
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    }

    @Test func theDocumentNamesEverySetting() throws {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appending(path: "../../../Docs/Configuration.md").standardizedFileURL
        let document = try String(contentsOf: path, encoding: .utf8)
        for setting in Setting.all {
            let row = "| `\(setting.key)` | `\(setting.variable)` | `\(setting.flag)` |"
            #expect(document.contains(row), "\(row)")
            #expect(document.contains(setting.standard), "\(setting.key): \(setting.standard)")
        }
    }

    @Test(arguments: [
        ("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("peers", "peers", 0), ("ab", "ba", 1), ("a", "b", 1),
    ])
    func distances(a: String, b: String, count: Int) {
        #expect(NearestName.distance(Array(a.utf8), Array(b.utf8)) == count)
    }
}
