"""`python -m trialog_server`: the commands of the service, without the SDK's."""

from trialog_server.commands import main

if __name__ == "__main__":
    main()
