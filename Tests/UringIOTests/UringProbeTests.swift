// The probe answers on every kernel: what was granted, or one line that says why nothing was.
import Testing
import UringIO

@Suite struct UringProbeTests {
    @Test func itAnswersInOneLine() {
        let answer = UringProbe.run().description
        #expect(!answer.isEmpty && !answer.contains("\n"), "\(answer)")
    }
}
