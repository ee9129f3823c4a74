// What is found out about the machine and the checkout.
import Foundation
import Testing

@testable import LabKit

@Suite struct EnvironmentTests {
    @Test func theLongestMountPointWins() {
        let mounts = """
            /dev/a / ext4 rw,relatime 0 0
            /dev/b /data xfs rw 0 0
            /dev/c /data/my\\040disk btrfs ro 0 0
            """
        #expect(RunEnvironment.mountPoint(of: "/home/x", mounts: mounts)?.kind == "ext4")
        #expect(RunEnvironment.mountPoint(of: "/data", mounts: mounts)?.kind == "xfs")
        #expect(RunEnvironment.mountPoint(of: "/database", mounts: mounts)?.kind == "ext4")
        #expect(RunEnvironment.mountPoint(of: "/data/my disk/x", mounts: mounts)?.options == "ro")
        #expect(RunEnvironment.mountPoint(of: "/x", mounts: "") == nil)
    }

    @Test func captureFillsWhatItCan() {
        let environment = RunEnvironment.capture(dataFolder: "/", checkout: nil)
        #expect(!environment.host.isEmpty)
        #expect(environment.vcpus > 0)
        #expect(environment.memoryBytes > 1 << 20)
        #expect(environment.commit == RunEnvironment.unknown)
        #expect(environment.shortCommit == "nocommit")
        #expect(environment.build == (RunEnvironment.isDebugBuild ? "debug" : "release"))
    }

    @Test func theBuildConfigurationIsSeen() {
        #if DEBUG
        #expect(RunEnvironment.isDebugBuild)
        #else
        #expect(!RunEnvironment.isDebugBuild)
        #endif
    }

    @Test func commandsAreCapturedAndKilledWhenLate() {
        #expect(CommandCapture.run(["sh", "-c", "echo one; echo two; exit 3"])?.text == "one\ntwo")
        #expect(CommandCapture.run(["sh", "-c", "exit 3"])?.status == 3)
        #expect(CommandCapture.run(["there-is-no-such-program"]) == nil)
        #expect(CommandCapture.run(["sleep", "60"], deadlineSeconds: 0.05) == nil)
    }

    @Test func theCheckoutIsFoundAboveTheExecutable() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        let products = folder.appendingPathComponent("scratch/triple/debug")
        try FileManager.default.createDirectory(at: products, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let executable = products.appendingPathComponent("LoadGen").path
        #expect(PackageCheckout.containing(executable: executable)?.folder != folder.path)
        try Data().write(to: folder.appendingPathComponent("Package.swift"))
        let found = try #require(PackageCheckout.containing(executable: executable)?.folder)
        #expect(URL(fileURLWithPath: found).lastPathComponent == folder.lastPathComponent)
    }

    @Test func theDiskFloorIsMeasuredAndCleanedUp() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let floor = try DiskFloor.probe(folder: folder.path, writes: 5)
        #expect(floor.minimumSeconds > 0 && floor.p50Seconds >= floor.minimumSeconds)
        #expect(floor.p99Seconds >= floor.p50Seconds)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
        #expect(throws: LabError.self) { try DiskFloor.probe(folder: folder.path + "/missing", writes: 1) }
    }

    @Test func wallTimeIsWrittenAsUTC() {
        let time = WallTime(milliseconds: 1_795_256_102_018)
        #expect(time.compact == "20261121T101502Z")
        #expect(time.iso8601 == "2026-11-21T10:15:02.018Z")
    }
}
