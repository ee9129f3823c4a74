// The encoding of snapshot transfers: every message survives the way, nothing malformed does, and no name of a file
// leads out of its folder.
import Raft
import SimulatedIO
import Testing

@testable import Cluster

@Suite struct SnapshotMessageTests {
    static let manifest = SnapshotManifest(
        format: "lsm", checkpoint: 5, point: SnapshotPoint(index: 70, term: 3),
        membership: GroupMembership(configuration: Configuration(voters: [NodeID(1), NodeID(2)]), version: 0),
        files: [
            .init(name: "000001.sst", byteCount: 10, checksum: 7), .init(name: "CURRENT", byteCount: 0, checksum: 0),
        ])

    static func decode(_ bytes: [UInt8]) -> SnapshotMessage? {
        guard let messages = PeerCodec.decode(bytes), messages.count == 1, case .snapshot(let message) = messages[0]
        else {
            return nil
        }
        return message
    }

    static func encode(_ content: SnapshotMessage.Content) -> [UInt8] {
        var writer = ByteWriter()
        PeerCodec.encode(SnapshotMessage(group: .keyValue, transfer: 9, content: content), into: &writer)
        return writer.bytes
    }

    @Test func everyKindSurvivesTheWay() throws {
        let offer = try #require(Self.decode(Self.encode(.offer(term: 4, Self.manifest))))
        #expect(offer.group == .keyValue && offer.transfer == 9)
        guard case .offer(4, let manifest) = offer.content else { throw Wrong() }
        #expect(manifest == Self.manifest)
        let wanted = [WantedFile(file: 0, offset: 5), WantedFile(file: 1, offset: 0)]
        guard case .want(let found)? = Self.decode(Self.encode(.want(wanted)))?.content else { throw Wrong() }
        #expect(found == wanted)
        let chunk = SnapshotChunk(
            file: 1, offset: 6, checksum: 0xE306_9283,
            bytes: .slice(Array("123456789".utf8)[...]))
        guard case .chunk(let back)? = Self.decode(Self.encode(.chunk(chunk)))?.content,
            case .slice(let bytes) = back.bytes
        else { throw Wrong() }
        #expect(back.file == 1 && back.offset == 6 && back.checksum == chunk.checksum)
        #expect(String(decoding: bytes, as: UTF8.self) == "123456789")
        guard case .received(17)? = Self.decode(Self.encode(.received(17)))?.content else { throw Wrong() }
        guard case .finished(70, "why")? = Self.decode(Self.encode(.finished(index: 70, reason: "why")))?.content else {
            throw Wrong()
        }
    }

    struct Wrong: Error {}

    @Test func nothingThatIsCutShortIsTaken() {
        let bytes = Self.encode(.offer(term: 4, Self.manifest))
        for count in 0..<bytes.count where count > 0 { #expect(PeerCodec.decode(Array(bytes[..<count])) == nil) }
    }

    @Test(arguments: ["", ".", "..", "a/b", "a\\b", "../CURRENT", "a b", "ä", String(repeating: "x", count: 201)])
    func aNameThatLeadsElsewhereIsRefused(name: String) {
        var manifest = Self.manifest
        manifest.files[0].name = name
        #expect(Self.decode(Self.encode(.offer(term: 4, manifest))) == nil)
    }

    @Test func theFileFormIsCheckedWhole() {
        let bytes = Self.manifest.fileBytes
        #expect(SnapshotManifest(fileBytes: bytes) == Self.manifest)
        for position in bytes.indices {
            var bad = bytes
            bad[position] ^= 0x10
            #expect(SnapshotManifest(fileBytes: bad) == nil, "byte \(position)")
        }
    }

    @Test func piecesComeInOrderOrNotAtAll() {
        let files = IncomingSnapshot(
            peer: NodeID(1), transfer: 1, term: 1, manifest: Self.manifest,
            files: IncomingFiles(
                folder: "x", fileSystem: SimulatedFileSystem(seed: 1), manifest: Self.manifest,
                settings: SnapshotSettings()),
            wanted: [WantedFile(file: 0, offset: 4)], offset: 4, lastHeard: 0)
        var incoming = files
        func chunk(_ offset: UInt64, _ count: Int) -> SnapshotChunk {
            SnapshotChunk(file: 0, offset: offset, checksum: 0, bytes: .slice([UInt8](repeating: 0, count: count)[...]))
        }
        #expect(incoming.take(chunk(6, 4)) == .gap)
        #expect(incoming.take(chunk(4, 2)) == .expected)
        #expect(incoming.take(chunk(4, 2)) == .old)
        #expect(incoming.remaining == [WantedFile(file: 0, offset: 6)])
        #expect(incoming.take(chunk(6, 5)) == .old, "it reaches beyond the file")
        #expect(incoming.take(chunk(6, 4)) == .expected)
        #expect(incoming.remaining.isEmpty)
    }

    @Test(arguments: [PeerCodecLimits.positionMax + 1, UInt64.max])
    func positionsThatNoLogReachesAreRefused(value: UInt64) {
        let fields: [WritableKeyPath<SnapshotManifest, UInt64>] = [
            \.point.index, \.point.term, \.nextOffset, \.membership.version,
        ]
        for field in fields {
            var manifest = Self.manifest
            manifest[keyPath: field] = value
            #expect(Self.decode(Self.encode(.offer(term: 4, manifest))) == nil, "\(field)")
        }
        #expect(Self.decode(Self.encode(.offer(term: value, Self.manifest))) == nil)
        #expect(Self.decode(Self.encode(.want([WantedFile(file: 0, offset: value)]))) == nil)
        #expect(Self.decode(Self.encode(.finished(index: value, reason: ""))) == nil)
        let chunk = SnapshotChunk(file: 1, offset: value, checksum: 0, bytes: .slice([1][...]))
        #expect(Self.decode(Self.encode(.chunk(chunk))) == nil)
    }

    /// Its own entries behind such a snapshot would be at positions that a log refuses to read back.
    @Test(arguments: [PeerCodecLimits.positionMax, PeerCodecLimits.positionMax - 1])
    func aSnapshotLeavesRoomForEntriesBehindIt(value: UInt64) {
        var manifest = Self.manifest
        manifest.point.index = value
        #expect(Self.decode(Self.encode(.offer(term: 4, manifest))) == nil)
        manifest = Self.manifest
        manifest.nextOffset = value
        #expect(Self.decode(Self.encode(.offer(term: 4, manifest))) == nil)
        #expect(SnapshotManifest(fileBytes: manifest.fileBytes) == nil)
    }

    @Test func noFileIsWantedTwice() {
        let twice = [WantedFile(file: 1, offset: 0), WantedFile(file: 1, offset: 5)]
        #expect(Self.decode(Self.encode(.want(twice))) == nil)
        #expect(Self.decode(Self.encode(.want(twice.reversed()))) == nil)
    }

    @Test func aFormatThatIsNoTextIsRefused() {
        var bytes = Self.encode(.offer(term: 4, Self.manifest))
        guard let place = bytes.firstRange(of: Array("lsm".utf8))?.lowerBound else { return }
        bytes[place] = 0xff
        #expect(Self.decode(bytes) == nil)
    }
}
