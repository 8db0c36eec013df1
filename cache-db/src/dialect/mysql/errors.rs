//! What the errors of MySQL and MariaDB mean.

use super::super::error_code::{ErrorCode, code, code_with, look_up};
use crate::fault::Fault::{self, *};

/// Classifies an error number. The SQLSTATE is too coarse.
pub(super) fn classify(code: &str, message: &str) -> Fault {
    look_up(ERRORS, code, message).unwrap_or(Other)
}

/// The errors of [MySQL], of [MariaDB], and of proxies in front of them. All others are errors of
/// the statement or of the configuration, which neither time nor a new connection mends.
///
/// [MySQL]: https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
/// [MariaDB]: https://mariadb.com/kb/en/mariadb-error-code-reference/
pub(in crate::dialect) const ERRORS: &[ErrorCode] = &[
    // A conflict with another transaction, or a statement that must be prepared again.
    code("1020", Busy), // ER_CHECKREAD; MariaDB: the row has changed since the snapshot
    code("1205", Busy), // ER_LOCK_WAIT_TIMEOUT
    code("1213", Busy), // ER_LOCK_DEADLOCK; Galera: another node changed the row
    code("1412", Busy), // ER_TABLE_DEF_CHANGED
    code("1615", Busy), // ER_NEED_REPREPARE
    code("3101", Busy), // ER_TRANSACTION_ROLLBACK_DURING_COMMIT: group replication
    // The server does not execute writes, or not for this connection: it became a replica, left
    // its group, or had ended the connection.
    code("1047", Reconnect), // ER_UNKNOWN_COM_ERROR; Galera: the node is not ready
    code("1243", Reconnect), // ER_UNKNOWN_STMT_HANDLER: a proxy changed the server
    code("1290", Reconnect), // ER_OPTION_PREVENTS_STATEMENT: read_only, super_read_only
    code("1792", Reconnect), // ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION: transaction_read_only
    code("1836", Reconnect), // ER_READ_ONLY_MODE
    code("1874", Reconnect), // ER_INNODB_READ_ONLY
    code("3032", Reconnect), // ER_SERVER_OFFLINE_MODE
    code("3100", Reconnect), // ER_RUN_HOOK_ERROR: group replication
    code("3168", Reconnect), // ER_SERVER_ISNT_AVAILABLE
    code("4031", Reconnect), // ER_CLIENT_INTERACTION_TIMEOUT: wait_timeout
    // The server or a proxy ends the connection. A kill may be reported after a COMMIT.
    code("1053", Disconnected), // ER_SERVER_SHUTDOWN
    code("1080", Disconnected), // ER_FORCING_CLOSE
    code("1152", Disconnected), // ER_ABORTING_CONNECTION
    code("1156", Disconnected), // ER_NET_PACKETS_OUT_OF_ORDER
    code("1157", Disconnected), // ER_NET_UNCOMPRESS_ERROR
    code("1158", Disconnected), // ER_NET_READ_ERROR
    code("1159", Disconnected), // ER_NET_READ_INTERRUPTED; MariaDB: wait_timeout
    code("1160", Disconnected), // ER_NET_ERROR_ON_WRITE
    code("1161", Disconnected), // ER_NET_WRITE_INTERRUPTED
    code("1180", Disconnected), // ER_ERROR_DURING_COMMIT
    code("1184", Disconnected), // ER_NEW_ABORTING_CONNECTION
    code("1835", Disconnected), // ER_MALFORMED_PACKET
    code("1927", Disconnected), // MariaDB: ER_CONNECTION_KILLED
    code("2006", Disconnected), // CR_SERVER_GONE_ERROR, from a proxy
    code("2013", Disconnected), // CR_SERVER_LOST, from a proxy
    code("3169", Disconnected), // ER_SESSION_WAS_KILLED
    // The server has no connection, no memory or no time for the call now. Another connection
    // would add to its load.
    code("1037", Unavailable), // ER_OUTOFMEMORY
    code("1040", Unavailable), // ER_CON_COUNT_ERROR: max_connections
    code("1041", Unavailable), // ER_OUT_OF_RESOURCES
    code("1042", Unavailable), // ER_BAD_HOST_ERROR: the server cannot resolve the client's address
    code("1043", Unavailable), // ER_HANDSHAKE_ERROR
    code("1129", Unavailable), // ER_HOST_IS_BLOCKED: max_connect_errors
    code("1135", Unavailable), // ER_CANT_CREATE_THREAD
    code("1203", Unavailable), // ER_TOO_MANY_USER_CONNECTIONS
    code("1226", Unavailable), // ER_USER_LIMIT_REACHED
    code("1317", Unavailable), // ER_QUERY_INTERRUPTED: KILL QUERY
    code("1461", Unavailable), // ER_MAX_PREPARED_STMT_COUNT_REACHED
    code("1969", Unavailable), // MariaDB: ER_STATEMENT_TIMEOUT
    code("3024", Unavailable), // ER_QUERY_TIMEOUT
    code("9001", Unavailable), // ProxySQL: no server could be reached in time
    code("9002", Unavailable), // ProxySQL: too many failures to connect to a server
    // No room. 28 is ENOSPC, 122 is EDQUOT.
    code("1021", Full),                    // ER_DISK_FULL
    code("1114", Full),                    // ER_RECORD_FILE_FULL
    code_with("1026", "rrno: 28 ", Full),  // ER_ERROR_ON_WRITE
    code_with("1026", "rrno: 122 ", Full), // ER_ERROR_ON_WRITE
    code_with("1030", "error 28 ", Full),  // ER_GET_ERRNO
    code_with("1030", "error 122 ", Full), // ER_GET_ERRNO
    // A packet or a result is larger than max_allowed_packet.
    code("1153", TooLarge), // ER_NET_PACKET_TOO_LARGE
    code("1301", TooLarge), // ER_WARN_ALLOWED_PACKET_OVERFLOWED
    // The table.
    code("1054", ForeignTable), // ER_BAD_FIELD_ERROR
    code("1061", IndexExists),  // ER_DUP_KEYNAME
    code("1146", MissingTable), // ER_NO_SUCH_TABLE
];
