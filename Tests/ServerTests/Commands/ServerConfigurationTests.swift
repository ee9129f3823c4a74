// What the words of the command line become.
import Configuration
import Testing

@testable import Server

@Suite struct ServerConfigurationTests {
    private func configuration(_ values: [String: String]) throws -> ServerConfiguration {
        var keys: [AbsoluteConfigKey: ConfigValue] = [:]
        for (key, value) in values {
            let path = ["strata"] + key.split(separator: ".").map(String.init)
            keys[AbsoluteConfigKey(path)] = ConfigValue(.string(value), isSecret: false)
        }
        return try ServerConfiguration(
            config: ConfigReader(provider: InMemoryProvider(name: "test", values: keys)))
    }

    @Test func aPeerMayBeGivenByName() throws {
        let found = try configuration([
            "address": "127.0.0.1:7001", "peers": "node2=127.77.1.2:7002, 127.0.0.1:7003", "peer.port": "7004",
        ])
        #expect(found.peers.map(\.description) == ["127.77.1.2:7002", "127.0.0.1:7003"])
        #expect(found.peerNames.map { "\($0)=\($1)" } == ["node2=127.77.1.2:7002"])
        #expect(found.peerPort == 7004)
        #expect(try configuration([:]).peerPort == 0)
    }

    @Test func severalFaultsGoTogether() throws {
        let found = try configuration(["fault": "power-loss,disk-stall=20"])
        #expect(found.faults.map(\.description) == ["power-loss", "disk-stall=20"])
    }

    @Test(arguments: ["x", "-1", "70000"])
    func aPeerPortIsAPort(text: String) {
        #expect(throws: ServerError.self) { try configuration(["peer.port": text]) }
    }

    @Test(arguments: ["nonsense", "power-loss=3", "power-loss,nonsense"])
    func otherFaultsAreRefused(text: String) {
        #expect(throws: ServerError.self) { try configuration(["fault": text]) }
    }
}
