// Addresses as people type them, and what the wrong ones are told.
import Testing

@testable import Server

@Suite struct ListenAddressTests {
    @Test(arguments: [
        (":7001", "127.0.0.1", 7001),
        ("7001", "127.0.0.1", 7001),
        ("localhost:0", "localhost", 0),
        ("0.0.0.0:65535", "0.0.0.0", 65535),
        ("node-1.example_x.org:9092", "node-1.example_x.org", 9092),
        ("[::1]:7001", "::1", 7001),
    ])
    func good(_ text: String, _ host: String, _ port: Int) throws {
        let address = try ListenAddress(parsing: text)
        #expect(address == ListenAddress(host: host, port: port))
        let again = try ListenAddress(parsing: address.description)
        #expect(again == address)
    }

    @Test(arguments: [
        "", "host", "host:", ":", ":65536", ":-1", ":7001x", "::1", "::1:7001", "[::1]", "[::1]7001", "[::1", "[]:1",
        "a b:1", "http://host:80", "host:999999999999999999999", "[host]:1", " :7001",
    ])
    func bad(_ text: String) {
        let error = #expect(throws: CommandError.self) { try ListenAddress(parsing: text) }
        #expect(error?.kind == .usage)
        #expect(text.isEmpty || error?.description.contains(text) == true, "the sentence names what was typed")
    }
}
