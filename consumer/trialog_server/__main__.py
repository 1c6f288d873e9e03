"""`python -m trialog_server`: the commands of the service, without the SDK's."""

from trialog_server.archiving import archive, restore
from trialog_server.commands import main, service
from trialog_server.proving import prove, verify_proof

__all__ = ["main", "service"]

service.add_command(archive)
service.add_command(restore)
service.add_command(prove)
service.add_command(verify_proof)

if __name__ == "__main__":
    main()
