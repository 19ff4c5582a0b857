#if Server && SQLite && Push
import ArgumentParser
import WorkerCommandLine

/// The command: the demonstration, single nodes, and administration.
@main
struct Reeve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reeve",
        abstract: "Managers publish and command; workers serve.",
        subcommands: [
            DemoCommand.self, ManagerCommand.self, WorkerCommand.self, PublishCommand.self,
            PublishingCommand.self, RootCommand.self, SealCommand.self, OpeningKeyCommand.self,
            EnqueueCommand.self, StatusCommand.self, ActivitiesCommand.self, EventsCommand.self,
            WebhooksCommand.self, DevicesCommand.self, GroupsCommand.self, FleetCommand.self,
            FrontCommand.self,
            BackupCommand.self, RestoreCommand.self, PurgeCommand.self, ExportCommand.self,
            RolloutCommand.self, NodesCommand.self, AuditCommand.self, IdentitiesCommand.self,
            OwnerCommand.self, CertificatesCommand.self,
        ]
    )
}
#else
/// Without its traits the command is empty.
@main
struct Reeve {
    static func main() {
        print("This build of reeve lacks one of the traits Server, SQLite and Push.")
    }
}
#endif
