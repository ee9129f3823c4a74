// The registry as a backend of swift-metrics, so that the metrics of libraries (the HTTP server's) appear beside our
// own. Names lose what Prometheus does not allow; counters get `_total`, timers `_seconds`.
public import CoreMetrics

/// Hands swift-metrics' instruments out of a ``MetricsRegistry``. Bootstrap once, before any library makes a metric.
public struct RegistryMetricsFactory: MetricsFactory {
    private let registry: MetricsRegistry

    public init(registry: MetricsRegistry) {
        self.registry = registry
    }

    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        CounterAdapter(
            counter: registry.counter(
                Self.name(label, suffix: "_total"), help: "Counted by a library.", labels: Self.labels(dimensions)))
    }

    public func makeRecorder(
        label: String, dimensions: [(String, String)], aggregate: Bool
    ) -> any RecorderHandler {
        GaugeAdapter(
            gauge: registry.gauge(Self.name(label), help: "Recorded by a library.", labels: Self.labels(dimensions)))
    }

    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        GaugeAdapter(
            gauge: registry.gauge(Self.name(label), help: "Measured by a library.", labels: Self.labels(dimensions)))
    }

    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        TimerAdapter(
            histogram: registry.histogram(
                Self.name(label, suffix: "_seconds"), help: "Timed by a library.", labels: Self.labels(dimensions)))
    }

    public func destroyCounter(_ handler: any CounterHandler) {}
    public func destroyMeter(_ handler: any MeterHandler) {}
    public func destroyRecorder(_ handler: any RecorderHandler) {}
    public func destroyTimer(_ handler: any TimerHandler) {}

    static func name(_ label: String, suffix: String = "") -> String {
        var name = ""
        for scalar in label.unicodeScalars {
            let isAllowed = scalar.isASCII && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil)
            name.unicodeScalars.append(isAllowed ? scalar : "_")
        }
        if let first = name.unicodeScalars.first, first.properties.numericType != nil { name = "_" + name }
        return name.hasSuffix(suffix) ? name : name + suffix
    }

    private static func labels(_ dimensions: [(String, String)]) -> [PrometheusText.Label] {
        dimensions.map { (name($0.0), $0.1) }
    }
}

private final class CounterAdapter: CounterHandler {
    private let counter: Counter
    init(counter: Counter) { self.counter = counter }
    func increment(by amount: Int64) { counter.increment(by: UInt64(max(amount, 0))) }
    // A Prometheus counter never goes back; a restart of the process is the only reset.
    func reset() {}
}

private final class GaugeAdapter: RecorderHandler, MeterHandler {
    private let gauge: Gauge
    init(gauge: Gauge) { self.gauge = gauge }
    func record(_ value: Int64) { gauge.set(Double(value)) }
    func record(_ value: Double) { gauge.set(value) }
    func set(_ value: Int64) { gauge.set(Double(value)) }
    func set(_ value: Double) { gauge.set(value) }
    func increment(by amount: Double) { gauge.add(amount) }
    func decrement(by amount: Double) { gauge.add(-amount) }
}

private final class TimerAdapter: TimerHandler {
    private let histogram: Histogram
    init(histogram: Histogram) { self.histogram = histogram }
    func recordNanoseconds(_ duration: Int64) { histogram.record(nanoseconds: UInt64(max(duration, 0))) }
}
