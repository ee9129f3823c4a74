// Plain text tables: columns as wide as their widest cell, numbers to the right.

/// A table for a terminal.
public struct ConsoleTable: Sendable {
    public enum Alignment: Sendable {
        case left, right
    }

    private let headings: [(title: String, alignment: Alignment)]
    private var rows: [[String]] = []

    public init(_ headings: [(title: String, alignment: Alignment)]) {
        self.headings = headings
    }

    public mutating func add(_ cells: [String]) {
        precondition(cells.count == headings.count, "a row has one cell for each heading")
        rows.append(cells)
    }

    /// Lines without trailing blanks, each ended by a newline.
    public var text: String {
        let titles = headings.map(\.title)
        let widths = headings.indices.map { column in
            ([titles] + rows).map { $0[column].count }.max() ?? 0
        }
        return ([titles] + rows).map { line($0, widths) }.joined()
    }

    private func line(_ cells: [String], _ widths: [Int]) -> String {
        var line = ""
        for (column, cell) in cells.enumerated() {
            let padding = String(repeating: " ", count: widths[column] - cell.count)
            line += headings[column].alignment == .left ? cell + padding : padding + cell
            line += column + 1 < cells.count ? "  " : ""
        }
        while line.last == " " {
            line.removeLast()
        }
        return line + "\n"
    }
}
