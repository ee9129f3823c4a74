// Feeds damaged golden files to the parsers, in this process, and never lets one crash or hang unseen. Damage is drawn
// from a seed and put behind good checksums most of the time, so that it reaches what trusts them. Any error is a good
// answer.
//
//     ParserFuzz [--parser NAME] [--seconds N] [--seed N] [--input N] [--fixtures FOLDER]
//
// Without a parser all run, each for so many seconds. `--input` repeats a single input of a seed: what a failure
// prints.
import Glibc

do {
    let options = try FuzzOptions(CommandLine.arguments.dropFirst())
    Watch.install()
    for target in try options.targets() { options.run(target) }
} catch {
    print(error)
    exit(1)
}
