// Columns of text for a terminal: each as wide as its widest cell, long cells cut, so that a line stays a line.

struct TextTable {
    /// A longer cell is cut and ends with an ellipsis.
    private static let cellCharactersMax = 100

    private let columns: [String]
    private let rightAligned: Set<Int>
    private var rows: [[String]] = []
    private var widths: [Int]

    init(_ columns: [String], rightAligned: Set<Int> = []) {
        self.columns = columns
        self.rightAligned = rightAligned
        widths = columns.map(\.count)
    }

    mutating func add(_ row: [String]) {
        let cells = row.map { cell in
            cell.count > Self.cellCharactersMax ? cell.prefix(Self.cellCharactersMax - 1) + "…" : cell
        }
        for (position, cell) in cells.enumerated() where position < widths.count {
            widths[position] = max(widths[position], cell.count)
        }
        rows.append(cells)
    }

    func print() {
        for row in [columns] + rows {
            let cells = zip(row, widths).enumerated().map { position, cell in
                Self.pad(cell.0, cell.1, right: rightAligned.contains(position))
            }
            var line = cells.joined(separator: "  ")
            while line.last == " " { line.removeLast() }
            // Nobody reads any more, as behind `head`.
            guard StandardOutput.write(line) else { return }
        }
    }

    static func pad(_ text: String, _ width: Int, right: Bool = false) -> String {
        let spaces = String(repeating: " ", count: max(0, width - text.count))
        return right ? spaces + text : text + spaces
    }
}
