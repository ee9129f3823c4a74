// Why a Server could not start or had to stop: one sentence that names the thing and the remedy, exit status 1.

enum ServerError: Error, Sendable, CustomStringConvertible {
    case dataFolder(String, String)
    case configuration(String)
    case refused(String)
    case storageFailed(String)

    var description: String {
        switch self {
        case .dataFolder(let path, let why): "the data folder \(path) can't be used: \(why)"
        case .configuration(let why): why
        case .refused(let why): why
        case .storageFailed(let why):
            "the node's storage failed and it stops rather than guess what is on disk: \(why)"
        }
    }
}
