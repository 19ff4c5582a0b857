#if Server && SQLite && Push
import ArtifactConfiguration
import ArtifactStore
import ClusterLink
import ClusterMembership
import ClusterRole
import ClusterTestKit
import ClusterTransport
import DeviceGateway
import DeviceRegistry
import Foundation
import HTTPHandling
import HummingbirdHosting
import ManagerConsole
import NodeCertificates
import NotificationDispatch
import OperationQueue
import PushTransports
import ReeveManager
import ReeveWorker
import SQLiteReplica
import SQLiteStore
import XCTest

/// A program that imports Foundation and every module names each headline type bare: no public type is
/// called like a module or like a type of Foundation's. That this file compiles is the test.
final class HeadlineNamesTests: XCTestCase {
    func test_headlineTypes_withFoundationImported_areNamedBare() {
        let names: [Any.Type] = [
            NodeRole.self, Profile.self, ReeveNode.self, NodeComponent.self, Epoch.self,
            Revision.self, Permission.self, WriteCapability.self, TenantID.self, NodeID.self,
            Timestamp.self, InMemoryLedger.self,
            Coordinator.self, ClusterMembers.self, Lease.self, Member.self, InMemoryHintBus.self,
            ArtifactPublisher.self, ArtifactSync.self, Release.self, SignedRelease.self,
            ArtifactSet.self, LazyDeployer.self, ReleaseExport.self, HeldReleaseSource.self,
            ArtifactConfigurationProvider.self,
            RootRecord.self, ReleasePointer.self, SealedValue.self, PublishTask.self,
            TreeManifest.self, ChannelName.self, ActiveRelease.self, DirectoryObjectStorage.self,
            ReleaseRollouts.self, ReleaseRollout.self, ReleaseRolloutPlan.self, ReleaseOffers.self,
            ReleaseNode.self, ReleaseHealth.self,
            DeviceDirectory.self, DeviceAdministration.self, Device.self, DeviceID.self,
            GroupID.self, DeviceCredential.self, EnrolmentDesk.self, SecretBox.self,
            OperationEnqueuer.self, EnqueueRequest.self, DeviceExchange.self, ExchangeReport.self,
            ExchangeAnswer.self, DeviceOperation.self, Activity.self, ActivityBrowser.self,
            Execution.self, ExecutionState.self, OpenWork.self, ReplicaImage.self,
            PeriodicTask.self, PeriodicTaskRunner.self, TaskPartition.self,
            CompliancePolicy.self, ComplianceReport.self, PolicyMonitor.self,
            MaintenanceWindow.self, SystemTimeZones.self,
            WakeDispatcher.self, WakeUp.self, TransportTable.self, RecordingPushTransport.self,
            HTTPPushTransport.self,
            EmbeddedStore.self, WorkerReplica.self,
            LinkEndpoint.self, LinkClient.self, WorkerLink.self,
            HandlerRequest.self, HandlerResponse.self, RouteTable.self, Identity.self,
            ProblemDetails.self, ReeveServer.self,
            DeviceEndpoint.self, AdminEndpoint.self, StatusPage.self,
            ManagerNode.self, WorkerNode.self,
            CertifiedNode.self, PeerCertificate.self, PeerRefusal.self, ServerTLS.self,
            CertificateAuthority.self, CredentialSource.self, CertificateTrust.self,
            ManualTimeSource.self, SeededRandomSource.self, FaultScript.self, InMemoryCluster.self,
        ]
        let bare = names.map { String(describing: $0) }
        XCTAssertEqual(Set(bare).count, bare.count, "two headline types share a name")
        let modules: Set<String> = [
            "ArtifactConfiguration", "ArtifactStore", "ClusterLink", "ClusterMembership",
            "ClusterRole", "ClusterTestKit",
            "ClusterTransport", "DeviceGateway", "DeviceRegistry", "HTTPHandling",
            "HummingbirdHosting", "ManagerConsole", "NodeCertificates", "NotificationDispatch",
            "OperationQueue",
            "PushTransports", "ReeveManager", "ReeveWorker", "SQLiteReplica", "SQLiteStore",
        ]
        XCTAssertTrue(modules.isDisjoint(with: bare))
    }
}
#endif
