// swift-tools-version: 6.2
// Strata's package: one target per folder of Docs/Architecture.md, so that the compiler holds every module boundary.
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableExperimentalFeature("Lifetimes"),
]

func module(_ name: String, in folder: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, path: "Sources/\(folder)\(name)", swiftSettings: settings)
}

func disk(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    module(name, in: "IOBackends/", dependencies)
}

func engine(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    module(name, in: "Engine/", dependencies)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, path: "Tests/\(name)", swiftSettings: settings)
}

let grpc: [Target.Dependency] = [
    .product(name: "GRPCCore", package: "grpc-swift-2"),
    .product(name: "GRPCNIOTransportHTTP2", package: "grpc-swift-nio-transport"),
    .product(name: "GRPCProtobuf", package: "grpc-swift-protobuf"),
    .product(name: "SwiftProtobuf", package: "swift-protobuf"),
]
let nio: [Target.Dependency] = [
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
]
let http2: [Target.Dependency] = [
    .product(name: "NIOHTTP2", package: "swift-nio-http2"),
    .product(name: "NIOHPACK", package: "swift-nio-http2"),
]
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let histogram = Target.Dependency.product(name: "Histogram", package: "hdrhistogram-swift")

func benchmarks(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
        name: name, dependencies: dependencies + [.product(name: "Benchmark", package: "benchmark")],
        path: "Benchmarks/\(name)", swiftSettings: settings,
        plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")])
}

let package = Package(
    name: "strata",
    products: [
        .executable(name: "Server", targets: ["Server"]),
        .executable(name: "LoadGen", targets: ["LoadGen"]),
        .library(name: "StrataClient", targets: ["StrataClient"]),
        .library(
            name: "StrataEngine",
            targets: ["FileIO", "PosixIO", "SimulatedIO", "SegmentedLog", "Storage", "Raft", "Cluster", "StrataNode"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0"),
        .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.3"),
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport", from: "2.9.2"),
        .package(url: "https://github.com/grpc/grpc-swift-protobuf", from: "2.4.1"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        .systemLibrary(
            name: "CLiburing", path: "Sources/IOBackends/CLiburing", pkgConfig: "liburing",
            providers: [.apt(["liburing-dev"])]),
        .systemLibrary(
            name: "CJemalloc", path: "Sources/Engine/CJemalloc", pkgConfig: "jemalloc",
            providers: [.apt(["libjemalloc-dev"])]),
        .systemLibrary(
            name: "CLz4", path: "Sources/Engine/CLz4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
        .systemLibrary(
            name: "CZstd", path: "Sources/Engine/CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .systemLibrary(
            name: "CZlib", path: "Sources/Engine/CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .target(name: "CEngine", path: "Sources/Engine/CEngine", cSettings: [.define("_GNU_SOURCE")]),

        disk("FileIO"),
        disk("PosixIO", ["FileIO"]),
        disk("UringIO", ["FileIO", "PosixIO", "CLiburing"]),
        disk("SimulatedIO", ["FileIO"]),

        engine("Telemetry", [.product(name: "CoreMetrics", package: "swift-metrics")]),
        engine("Memory", ["CEngine", "CJemalloc"]),
        engine("Records", ["CEngine", "CLz4", "CZstd", "CZlib"]),
        engine("SegmentedLog", ["FileIO", "CEngine"]),
        engine("Storage", ["FileIO", "Memory", "CEngine", "CLz4", "CZstd"]),
        engine("Raft"),
        engine("Cluster", ["Raft", "SegmentedLog", "FileIO", "Memory", "CEngine"]),
        engine("KeyValue", ["Cluster", "Storage", "SegmentedLog", "Raft", "FileIO"]),
        engine("Broker", ["Cluster", "Records", "SegmentedLog", "Raft"]),
        .target(
            name: "StrataNode",
            dependencies: ["Cluster", "KeyValue", "Broker", "Storage", "SegmentedLog", "Raft", "FileIO"],
            path: "Sources/Engine/Node", swiftSettings: settings),

        .target(
            name: "StrataProtocol", dependencies: grpc, path: "Sources/Protocol", exclude: ["Proto"],
            swiftSettings: settings),
        .target(
            name: "StrataClient", dependencies: ["StrataProtocol", "Records"] + grpc + nio, path: "Sources/Client",
            swiftSettings: settings),
        .target(
            name: "LabKit", dependencies: ["Telemetry", histogram], path: "Sources/LabKit", swiftSettings: settings),
        .executableTarget(
            name: "Server",
            dependencies: [
                "CEngine", "FileIO", "PosixIO", "UringIO", "SimulatedIO", "Memory", "Storage", "SegmentedLog", "Raft",
                "Cluster", "KeyValue", "Broker",
                "StrataNode",
                "Records",
                "Telemetry", "StrataProtocol", "StrataClient", logging, arguments,
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
                .product(name: "SystemPackage", package: "swift-system"),
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
            ] + grpc + nio + http2,
            path: "Sources/Server", swiftSettings: settings),
        .executableTarget(
            name: "LoadGen",
            dependencies: [
                "LabKit", "StrataClient", "StrataProtocol", "Storage", "Memory", "Records", "Telemetry", "FileIO",
                "PosixIO",
                "UringIO",
                logging, arguments, histogram,
            ] + grpc + nio,
            path: "Sources/LoadGen", resources: [.embedInCode("Faults/ClockShift/clock-shift.c")],
            swiftSettings: settings),

        .target(
            name: "TestSupport", dependencies: ["FileIO", "PosixIO", "UringIO"], path: "Tests/TestSupport",
            swiftSettings: settings),
        tests("PosixIOTests", ["PosixIO", "FileIO", "TestSupport"]),
        tests("SimulatedIOTests", ["SimulatedIO", "PosixIO", "UringIO", "FileIO", "TestSupport"]),
        tests("UringIOTests", ["UringIO"]),
        tests("TelemetryTests", ["Telemetry", "TestSupport"]),
        tests("MemoryTests", ["Memory"]),
        tests("RecordsTests", ["Records", "CEngine", "CLz4", "CZstd", "CZlib"]),
        tests("SegmentedLogTests", ["SegmentedLog", "SimulatedIO", "PosixIO", "FileIO", "CEngine", "TestSupport"]),
        .executableTarget(
            name: "KilledWriter", dependencies: ["Storage", "FileIO", "UringIO", "Memory"],
            path: "Tests/StorageTests/KilledWriter", swiftSettings: settings),
        .testTarget(
            name: "StorageTests",
            dependencies: [
                "Storage", "SimulatedIO", "PosixIO", "UringIO", "FileIO", "Memory", "CEngine", "TestSupport",
                "KilledWriter",
            ],
            path: "Tests/StorageTests", exclude: ["KilledWriter"], swiftSettings: settings),
        .target(
            name: "RaftSimulation", dependencies: ["Raft"], path: "Tests/Simulation/RaftSimulation",
            swiftSettings: settings),
        .executableTarget(
            name: "RaftCheck", dependencies: ["Raft", "RaftSimulation"], path: "Tests/Simulation/RaftCheck",
            swiftSettings: settings),
        .testTarget(
            name: "RaftTests", dependencies: ["Raft", "RaftSimulation"], path: "Tests/RaftTests",
            exclude: ["Scenarios"], swiftSettings: settings),
        tests("KeyValueTests", ["KeyValue", "Cluster", "Raft", "SegmentedLog", "Storage", "SimulatedIO", "FileIO"]),
        tests("ClusterTests", ["Cluster", "Raft", "SegmentedLog", "SimulatedIO", "FileIO", "Memory"]),
        tests(
            "SimulationTests",
            [
                "StrataNode", "Cluster", "KeyValue", "Broker", "Storage", "Raft", "SegmentedLog", "SimulatedIO",
                "FileIO", "Records",
            ]),
        tests(
            "ServerTests",
            [
                "Server", "Cluster", "KeyValue", "Broker", "Records", "StrataProtocol", "StrataClient", "Raft",
                "FileIO", "SimulatedIO", "Storage", "StrataNode", logging, arguments,
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
            ] + grpc + nio + http2),
        tests("ClientTests", ["StrataClient", "StrataProtocol", "Records"] + grpc + nio),
        .testTarget(
            name: "LabKitTests", dependencies: ["LabKit", "Telemetry", histogram], path: "Tests/LabKitTests",
            exclude: ["Fixtures"], swiftSettings: settings),
        tests(
            "LoadGenTests",
            ["LoadGen", "LabKit", "Records", "StrataClient", "Storage", "Memory", "UringIO", arguments] + nio),
        tests("ClusterProcessTests", ["Server", "LoadGen", "StrataClient", "TestSupport"]),
    ]
)

// The micro suites and their library are built only when they are asked for: STRATA_BENCHMARKS=1 swift package benchmark.
if Context.environment["STRATA_BENCHMARKS"] != nil {
    package.dependencies.append(.package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: []))
    package.targets += [
        benchmarks("MemoryBenchmarks", ["Memory", "CEngine"]),
        benchmarks("StorageBenchmarks", ["Storage", "Memory", "PosixIO", "FileIO"]),
        benchmarks("LogBenchmarks", ["SegmentedLog", "FileIO", "PosixIO"]),
        benchmarks("RaftBenchmarks", ["Raft"]),
    ]
}

// The parsers' fuzzer looks inside modules, which release builds only allow when they are asked to: STRATA_FUZZ=1, and
// `-Xswiftc -enable-testing` with `-c release`. It looks inside Server too, which can only be linked into another program as a
// library without its entry point: such a build makes no server.
if Context.environment["STRATA_FUZZ"] != nil, let place = package.targets.firstIndex(where: { $0.name == "Server" }) {
    let server = package.targets[place]
    package.targets[place] = .target(
        name: server.name, dependencies: server.dependencies, path: server.path, exclude: ["Main.swift"],
        swiftSettings: settings)
    package.products.removeAll { $0.name == server.name }
    package.targets.append(
        .executableTarget(
            name: "ParserFuzz",
            dependencies: [
                "Storage", "SegmentedLog", "Records", "Memory", "CEngine", "FileIO", "SimulatedIO", "TestSupport",
                "Raft", "Cluster", "KeyValue", "Broker", "StrataNode", "StrataProtocol", "Server", logging,
                .product(name: "NIOEmbedded", package: "swift-nio"),
            ] + nio + grpc,
            path: "Tests/Fuzz", swiftSettings: settings))
}
