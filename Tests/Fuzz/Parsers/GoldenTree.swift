// A golden tree taken apart: which blocks its tables have and where, so that each can be damaged behind a good
// checksum.
import CEngine
import FileIO

@testable import Storage

struct GoldenTree {
    let files: Corpus.Folder
    let manifest: [UInt8]
    let manifestNumber: UInt64
    let tables: [GoldenTable]

    init(_ files: Corpus.Folder) throws {
        self.files = files
        guard let found = files.first(where: { $0.name.hasPrefix("MANIFEST-") }),
            case .manifest(let number)? = StoreFile(found.name)
        else { throw StorageError.missingFile(path: "MANIFEST") }
        manifest = found.bytes
        manifestNumber = number
        let state = try Manifest.load(found.bytes, number: number, path: found.name)
        tables = try state.tables.map { metadata in
            let name = StoreFile.table(metadata.number).name
            guard let file = files.first(where: { $0.name == name }) else {
                throw StorageError.missingFile(path: name)
            }
            return try GoldenTable(name, file.bytes, metadata, state.store)
        }
    }
}

struct GoldenTable {
    struct Block {
        var kind: BlockKind
        var handle: BlockHandle
    }

    let name: String
    let bytes: [UInt8]
    let metadata: TableMetadata
    let store: UInt64
    let footer: TableFooter
    private(set) var blocks: [Block] = []

    private var identity: TableIdentity { TableIdentity(store: store, number: metadata.number) }

    init(_ name: String, _ bytes: [UInt8], _ metadata: TableMetadata, _ store: UInt64) throws {
        self.name = name
        self.bytes = bytes
        self.metadata = metadata
        self.store = store
        footer = try TableFooter(
            Array(bytes.suffix(TableFooter.bytes)), path: name, fileSize: UInt64(bytes.count))
        let top = handles(in: footer.index)
        blocks = top.map { Block(kind: footer.hasIndexParts ? .indexPart : .data, handle: $0) }
        if footer.hasIndexParts {
            blocks += top.flatMap { handles(in: $0) }.map { Block(kind: .data, handle: $0) }
        }
        blocks += [
            Block(kind: .filter, handle: footer.filter), Block(kind: .index, handle: footer.index),
            Block(kind: .properties, handle: footer.properties),
        ]
        if footer.rangeDeletes != .none { blocks.append(Block(kind: .rangeDeletes, handle: footer.rangeDeletes)) }
    }

    func content(_ block: Block) -> [UInt8] {
        let start = Int(block.handle.offset)
        return Array(bytes[start..<start + Int(block.handle.size)])
    }

    private func handles(in index: BlockHandle) -> [BlockHandle] {
        content(Block(kind: .index, handle: index)).withUnsafeBytes { buffer in
            guard let view = BlockView(buffer) else { return [] }
            return (0..<view.count).compactMap { row in
                var reader = ByteReader(view.value(row))
                return BlockHandle(&reader)
            }
        }
    }

    /// The file with a damaged block, footer, or anything; mostly behind good checksums.
    func damaged(_ mutator: inout Mutator, keepingLength: Bool = false) -> [UInt8] {
        var output = bytes
        switch mutator.below(8) {
        case 0:
            if keepingLength { mutator.damage(&output) } else { mutator.reshape(&output, donor: bytes) }
        case 1:
            let start = output.count - TableFooter.bytes
            mutator.damage(&output, in: start..<output.count - 4)
            output.put(crc(output[start..<output.count - 4]), at: output.count - 4)
        case 2, 3:
            if keepingLength { fallthrough }
            output = rebuilt(&mutator)
        default:
            for _ in 0...mutator.below(2) {
                let block = mutator.pick(blocks)
                let start = Int(block.handle.offset)
                let end = start + Int(block.handle.size)
                mutator.damage(&output, in: start..<end)
                // The compression may be another one.
                if mutator.chance(1, in: 20) { output[end] = UInt8(mutator.below(4)) }
                seal(&output, start..<end, block.kind)
            }
        }
        return output
    }

    /// Puts a good trailer behind a block.
    private func seal(_ output: inout [UInt8], _ range: Range<Int>, _ kind: BlockKind) {
        let compression = output[range.upperBound]
        let head = UInt32(compression) | UInt32(kind.rawValue) << 8
        let sum = output.withUnsafeBytes { buffer in
            BlockFrame.checksum(
                UnsafeRawBufferPointer(rebasing: buffer[range]), head, identity, UInt64(range.lowerBound))
        }
        output.put(head, at: range.upperBound)
        output.put(sum, at: range.upperBound + 4)
    }

    /// The blocks that only the footer names may have another length.
    private func rebuilt(_ mutator: inout Mutator) -> [UInt8] {
        var output = Array(bytes[..<Int(footer.index.offset)])
        var changed = footer
        let chosen = mutator.below(3)
        func append(_ handle: BlockHandle, _ kind: BlockKind, _ isChosen: Bool, _ mutator: inout Mutator) -> BlockHandle
        {
            if handle == .none { return .none }
            var block = content(Block(kind: kind, handle: handle))
            if isChosen { mutator.reshape(&block, donor: content(mutator.pick(blocks))) }
            if isChosen, kind == .index, block.count > BlockField.columns {
                block.put(UInt32(block.count), at: BlockField.size)
            }
            let start = output.count
            output += block + [UInt8](repeating: 0, count: BlockFrame.trailerBytes)
            seal(&output, start..<start + block.count, kind)
            return BlockHandle(offset: UInt64(start), size: UInt32(block.count))
        }
        changed.index = append(footer.index, .index, chosen == 0, &mutator)
        changed.rangeDeletes = append(footer.rangeDeletes, .rangeDeletes, chosen == 1, &mutator)
        changed.properties = append(footer.properties, .properties, chosen == 2, &mutator)
        changed.fileSize = UInt64(output.count + TableFooter.bytes)
        return output + changed.encode()
    }
}

func crc(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    bytes.withUnsafeBytes { strata_crc32c(0, $0.baseAddress, $0.count) }
}
