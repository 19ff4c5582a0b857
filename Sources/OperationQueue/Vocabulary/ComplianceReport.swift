internal import ClusterRole
internal import DeviceRegistry

/// What a device says of one policy: information of the kind `InformationKind.compliance`.
///
/// The document is `{"policy": name, "version": text, "compliant": true or false, "violations": [text]}`
/// or an array of such. Members it does not know are ignored.
public struct ComplianceReport: Hashable, Sendable {
    public var policy: PolicyID
    public var version: String
    public var isCompliant: Bool
    public var violations: [String]

    /// Policies one document speaks of.
    public static let maximumReports = 32
    /// Violations of one policy that are kept. More say nothing more.
    public static let maximumViolations = 64
    /// Bytes of one violation.
    public static let maximumViolationLength = 255

    public init(
        policy: PolicyID,
        version: String,
        isCompliant: Bool,
        violations: [String] = []
    ) {
        self.policy = policy
        self.version = version
        self.isCompliant = isCompliant
        self.violations = violations
    }

    /// Reads a document.
    ///
    /// - Throws: ``OperationQueueError`` with code `invalidRequest` or `tooLarge`.
    public static func reports(
        in document: [UInt8]
    ) throws(OperationQueueError) -> [ComplianceReport] {
        let node: JSONNode
        do {
            node = try JSONNode(checking: document)
        } catch {
            throw OperationQueueError(.invalidRequest, error.message, cause: error)
        }
        guard case .array(let nodes) = node else { return [try ComplianceReport(node)] }
        guard nodes.count <= maximumReports else {
            throw tooLarge("A document speaks of at most \(maximumReports) policies.")
        }
        var reports: [ComplianceReport] = []
        for node in nodes { reports.append(try ComplianceReport(node)) }
        return reports
    }

    private init(_ node: JSONNode) throws(OperationQueueError) {
        guard let name = node["policy"]?.text, let version = node["version"]?.text,
            case .flag(let isCompliant) = node["compliant"]
        else {
            throw OperationQueueError(
                .invalidRequest,
                "A compliance report is an object with the texts `policy` and `version` and the flag "
                    + "`compliant`."
            )
        }
        do {
            policy = try PolicyID(validating: name)
        } catch {
            throw OperationQueueError(.invalidRequest, error.message, cause: error)
        }
        guard version.utf8.count <= CompliancePolicy.maximumVersionLength else {
            throw Self.tooLarge(
                "A policy's version has at most \(CompliancePolicy.maximumVersionLength) bytes."
            )
        }
        var violations: [String] = []
        if case .array(let nodes) = node["violations"] {
            guard nodes.count <= Self.maximumViolations else {
                throw Self.tooLarge(
                    "A report names at most \(Self.maximumViolations) violations."
                )
            }
            for node in nodes {
                guard let text = node.text, text.utf8.count <= Self.maximumViolationLength else {
                    throw Self.tooLarge(
                        "A violation is a text of at most \(Self.maximumViolationLength) bytes."
                    )
                }
                violations.append(text)
            }
        }
        self.version = version
        self.isCompliant = isCompliant
        self.violations = violations
    }

    private static func tooLarge(_ message: String) -> OperationQueueError {
        OperationQueueError(.tooLarge, message)
    }
}
