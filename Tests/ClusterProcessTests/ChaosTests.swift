// A few faults of a fixed seed under load, by the lab itself: what `LoadGen chaos` proves in a minute, in a few seconds.
import TestSupport
import Testing

extension ProcessTests {
    @Suite struct ChaosTests {
        @Test(arguments: [1, 2])
        func aClusterComesOutOfAFewFaultsWhole(seed: Int) throws {
            let folder = try TemporaryFolder()
            let result = try Program.shell(
                "LoadGen chaos --duration 4 --no-write --debug-ok --seed \(seed) 2>&1", folder: folder.path, seconds: 90
            )
            #expect(result.status == 0, "\(result.output)")
            #expect(result.output.contains("linearizable: yes"), "\(result.output)")
            #expect(result.output.contains(": 0 lost, 0 corrupt"), "\(result.output)")
        }
    }
}
