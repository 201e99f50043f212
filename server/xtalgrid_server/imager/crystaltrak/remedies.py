"""What to do about an error of the imager database, by its message (docs/imager-databases.md has the table)."""

from __future__ import annotations

_THICK = "set imager.oracle_client to Oracle's client libraries (thick mode, docs/imager-databases.md)"
_TOO_MANY = "lower imager.pool_size, or ask for more PROCESSES and SESSIONS"
_PASSWORD = "correct user and password; imager.password_file takes a password with / @ : # ? % as it is"  # noqa: S105
_UNLOCK = "ask the database's administrator for"
_GRANT = "`xtalgrid check-imager` lists the missing grants"

_TOO_LONG = "this column is shorter than CrystalTrak's: have it widened, or shorten imager.scored_by"
_ANOTHER_COLUMN = "the table has a column that xtalgrid does not fill: have a default set for it"

REMEDIES = {
    "DPY-3010": f"Oracle before 12.1 cannot be reached in thin mode: {_THICK}",
    "DPY-3001": f"the server requires native encryption: {_THICK}",
    "ORA-12660": f"the server requires native encryption: {_THICK}",
    "DPY-3015": f"the account's password is stored in an old form: have it set again, or {_THICK}",
    "ORA-28040": f"the server refuses clients this old or new: {_THICK}",
    "DPY-4027": "set TNS_ADMIN to the folder of tnsnames.ora, or write user@host:port/?service_name=x in imager.url",
    "DPY-4026": "set TNS_ADMIN to the folder of tnsnames.ora, and let this account read it",
    "DPY-4000": "correct the alias in imager.url (TNS_ADMIN names the folder of tnsnames.ora)",
    "ORA-12154": "correct the alias in imager.url (TNS_ADMIN names the folder of tnsnames.ora)",
    "DPY-6001": "correct service_name in imager.url; `lsnrctl services` on the database server lists them",
    "ORA-12514": "correct service_name in imager.url; `lsnrctl services` on the database server lists them",
    "DPY-6003": "host/x in imager.url is a SID; a service is host/?service_name=x",
    "ORA-12505": "host/x in imager.url is a SID; a service is host/?service_name=x",
    "is not registered with the listener": "correct service_name in imager.url",
    "wallet file": "add &wallet_location=FOLDER (with ewallet.pem) and &wallet_password=… to imager.url",
    "ORA-28759": "correct WALLET_LOCATION in sqlnet.ora, and let this account read the wallet",
    "CERTIFICATE_VERIFY_FAILED": "the server's certificate is not trusted: add &wallet_location=FOLDER to imager.url",
    "ORA-29024": "the server's certificate is not trusted: add it to the wallet",
    "DPY-6002": "the server's certificate has another name: add &ssl_server_cert_dn=… to imager.url",
    "DPY-6006": "the server's certificate has another name: write the host as the certificate does",
    "WRONG_VERSION_NUMBER": "this port does not speak TLS: write tcp, or the port of tcps (often 2484)",
    "DPY-4011": f"if this comes at each connection, the server may require native encryption: {_THICK}",
    "DPI-1047": "install Oracle's client libraries and enter their folder in ldconfig (docs/imager-databases.md)",
    "DPI-1072": "install newer client libraries of Oracle, 11.2 or later",
    "ORA-01017": _PASSWORD,
    "ORA-01005": _PASSWORD,
    "DPY-4001": _PASSWORD,
    "password authentication failed": _PASSWORD,
    "no password supplied": _PASSWORD,
    "ORA-28000": f"the account is locked: {_UNLOCK} ALTER USER … ACCOUNT UNLOCK",
    "ORA-28001": f"the password has expired: {_UNLOCK} ALTER USER … IDENTIFIED BY …, then change imager.password_file",
    "ORA-01045": f"{_UNLOCK} GRANT CREATE SESSION TO this account",
    "no pg_hba.conf entry": "have this computer and account entered in pg_hba.conf on the database server",
    "ORA-00018": _TOO_MANY,
    "ORA-00020": _TOO_MANY,
    "ORA-02391": f"{_TOO_MANY} (SESSIONS_PER_USER of the account's profile)",
    "ORA-12516": _TOO_MANY,
    "ORA-12518": _TOO_MANY,
    "ORA-12519": _TOO_MANY,
    "ORA-12520": _TOO_MANY,
    "QueuePool limit": "raise imager.pool_size: all connections of this process are busy",
    "DPY-4024": "raise imager.statement_timeout_s, or find out what slows the database",
    "DPI-1067": "raise imager.statement_timeout_s, or find out what slows the database",
    "Name or service not known": "correct the host in imager.url, or have it entered in DNS",
    "ORA-00942": _GRANT,
    "ORA-01031": _GRANT,
    "ORA-41900": _GRANT,
    "permission denied": _GRANT,
    "ORA-02289": 'correct imager.sequence; if the database fills SCOREID itself, write sequence = ""',
    "cannot insert a non-DEFAULT value": 'the database fills SCOREID itself: write sequence = "" in [imager]',
    "ORA-32795": 'the database fills SCOREID itself: write sequence = "" in [imager]',
    "ORA-22816": "the score table is a view with a trigger: write the table's name in imager.tables.scores",
    "ORA-00001": "the sequence may be behind existing ids; `xtalgrid check-imager` compares them",
    "ORA-12899": _TOO_LONG,
    "value too long": _TOO_LONG,
    "ORA-01400": _ANOTHER_COLUMN,
    "violates not-null constraint": _ANOTHER_COLUMN,
    "ORA-01950": f"{_UNLOCK} a quota on the tablespace of the score table",
    "ORA-01536": f"{_UNLOCK} more quota on the tablespace of the score table",
    "ORA-01653": f"{_UNLOCK} more space for the score table",
}
"""Sign in a message → what to do; the first that fits counts."""


def remedy(reason: str) -> str:
    """Return what to do about an error, or an empty text if nothing is known."""
    return next((words for sign, words in REMEDIES.items() if sign in reason), "")
