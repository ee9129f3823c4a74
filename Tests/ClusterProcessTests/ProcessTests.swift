// Tests that start real processes run one after another: they share two cores and, some of them, fixed ports.
import Testing

@Suite(.serialized) struct ProcessTests {}
