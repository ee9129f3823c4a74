// A request over HTTP that can't be answered as asked: the status code, and one clear sentence for the body
// `{"success":false,"error":"…"}`. The code alone must let a program act rightly: 503 was certainly not applied and may
// be retried, 504 may have been applied, 410 is a session that is over.
import Cluster
import HTTPTypes
import Hummingbird

/// Why a request failed.
struct HTTPProblem: Error {
    var status: HTTPResponse.Status
    var sentence: String
    var headers: HTTPFields = [:]

    static func badRequest(_ sentence: String) -> HTTPProblem {
        HTTPProblem(status: .badRequest, sentence: sentence)
    }

    init(status: HTTPResponse.Status, sentence: String, headers: HTTPFields = [:]) {
        self.status = status
        self.sentence = sentence
        self.headers = headers
    }

    init(_ error: RequestError) {
        sentence = "\(error)"
        switch error {
        case .notLeader, .unavailable:
            status = .serviceUnavailable
            headers = [.retryAfter: "1"]
        case .unknown: status = .gatewayTimeout
        case .invalid(.keyTooLong, _), .invalid(.valueTooLong, _): status = .contentTooLarge
        case .invalid(.sessionExpired, _): status = .gone
        case .invalid(.sequenceForgotten, _), .invalid(.notAnInteger, _): status = .conflict
        case .invalid: status = .badRequest
        case .storage: status = .internalServerError
        }
    }

    var response: Response {
        var body = JSONText()
        body.write("success", false)
        body.write("error", sentence)
        return .json(status, body.finished(), headers)
    }
}

extension Response {
    /// A response whose body is JSON already.
    static func json(_ status: HTTPResponse.Status, _ body: ByteBuffer, _ headers: HTTPFields = [:]) -> Response {
        var headers = headers
        headers[.contentType] = "application/json"
        return Response(status: status, headers: headers, body: .init(byteBuffer: body))
    }
}
