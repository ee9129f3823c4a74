// A few faults of a fixed seed under load, by the lab itself: what `LoadGen chaos` proves in a minute, in a few
// seconds.
import TestSupport
import Testing

extension ProcessTests {
    @Suite struct ChaosTests {
        @Test func aClusterComesOutOfAFewFaultsWhole() throws {
            let folder = try TemporaryFolder()
            let result = try Program.shell(
                "LoadGen chaos --duration 3 --no-write --debug-ok --seed 1 2>&1", folder: folder.path, seconds: 90
            )
            #expect(result.status == 0, "\(result.output)")
            #expect(result.output.contains("linearizable: yes"), "\(result.output)")
            #expect(result.output.contains(": 0 lost, 0 corrupt"), "\(result.output)")
        }

        /// Set clocks and cuts that close or swallow, each with its row in the table of unavailability.
        @Test func chosenFaultsAreDoneAndTheirUnavailabilityIsPrinted() throws {
            let folder = try TemporaryFolder()
            let result = try Program.shell(
                "LoadGen chaos --duration 6 --no-write --debug-ok --seed 3 --faults clock-back,partition-closed,pause 2>&1",
                folder: folder.path, seconds: 120
            )
            #expect(result.status == 0, "\(result.output)")
            #expect(result.output.contains("unavailability: longest time"), "\(result.output)")
            #expect(result.output.contains(": 0 lost, 0 corrupt"), "\(result.output)")
        }
    }
}
