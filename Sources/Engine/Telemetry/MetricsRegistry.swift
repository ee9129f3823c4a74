// Every metric of a process, in the order in which it was registered, and their exposition. Registering twice under
// one name and one set of labels gives the same instrument; under one name but another kind it is a programmer's
// error.
import Synchronization

/// The process's metrics. Thread-safe.
public final class MetricsRegistry: Sendable {
    enum Instrument {
        case counter(Counter)
        case gauge(Gauge)
        case histogram(Histogram)

        var kind: PrometheusText.Kind {
            switch self {
            case .counter: .counter
            case .gauge: .gauge
            case .histogram: .histogram
            }
        }
    }

    private struct Family {
        var name: String
        var help: String
        var kind: PrometheusText.Kind
        var members: [(labels: [PrometheusText.Label], rendered: String, instrument: Instrument)]
    }

    private struct Content {
        var families: [Family] = []
        var collectors: [@Sendable (inout PrometheusText) -> Void] = []
    }

    private let content = Mutex(Content())

    public init() {}

    /// - Parameter name: ends in `_total`, with a base unit before it where there is one (`_bytes_total`).
    public func counter(_ name: String, help: String, labels: [PrometheusText.Label] = []) -> Counter {
        guard case .counter(let counter) = instrument(name, help, labels, { .counter(Counter()) }) else {
            preconditionFailure("metric \(name) is registered as another kind")
        }
        return counter
    }

    public func gauge(_ name: String, help: String, labels: [PrometheusText.Label] = []) -> Gauge {
        guard case .gauge(let gauge) = instrument(name, help, labels, { .gauge(Gauge()) }) else {
            preconditionFailure("metric \(name) is registered as another kind")
        }
        return gauge
    }

    /// - Parameter name: ends in `_seconds`.
    public func histogram(_ name: String, help: String, labels: [PrometheusText.Label] = []) -> Histogram {
        guard case .histogram(let histogram) = instrument(name, help, labels, { .histogram(Histogram()) }) else {
            preconditionFailure("metric \(name) is registered as another kind")
        }
        return histogram
    }

    /// Adds families that are computed when they are asked for.
    public func collect(_ body: @escaping @Sendable (inout PrometheusText) -> Void) {
        content.withLock { $0.collectors.append(body) }
    }

    private func instrument(
        _ name: String, _ help: String, _ labels: [PrometheusText.Label], _ make: () -> Instrument
    ) -> Instrument {
        let rendered = PrometheusText.rendered(labels)
        return content.withLock { content in
            guard let position = content.families.firstIndex(where: { $0.name == name }) else {
                let new = make()
                content.families.append(
                    Family(name: name, help: help, kind: new.kind, members: [(labels, rendered, new)]))
                return new
            }
            if let member = content.families[position].members.first(where: { $0.rendered == rendered }) {
                return member.instrument
            }
            let new = make()
            precondition(new.kind == content.families[position].kind, "metric \(name) is registered as another kind")
            content.families[position].members.append((labels, rendered, new))
            return new
        }
    }

    /// All metrics in the Prometheus text format 0.0.4.
    public func exposition() -> String {
        var text = PrometheusText()
        let (families, collectors) = content.withLock { ($0.families, $0.collectors) }
        for family in families {
            text.family(family.name, family.kind, family.help)
            for member in family.members { write(member, of: family.name, to: &text) }
        }
        for collector in collectors { collector(&text) }
        return text.text
    }

    private func write(
        _ member: (labels: [PrometheusText.Label], rendered: String, instrument: Instrument), of name: String,
        to text: inout PrometheusText
    ) {
        switch member.instrument {
        case .counter(let counter): text.sample(name, rendered: member.rendered, Double(counter.value))
        case .gauge(let gauge): text.sample(name, rendered: member.rendered, gauge.value)
        case .histogram(let histogram):
            let cumulative = histogram.cumulative
            for (bound, count) in zip(Histogram.bounds, cumulative) {
                let le = PrometheusText.number(Double(bound) / 1e9)
                text.sample("\(name)_bucket", member.labels + [("le", le)], Double(count))
            }
            let total = Double(cumulative.last ?? 0)
            text.sample("\(name)_bucket", member.labels + [("le", "+Inf")], total)
            text.sample("\(name)_sum", rendered: member.rendered, histogram.sumSeconds)
            text.sample("\(name)_count", rendered: member.rendered, total)
        }
    }
}
