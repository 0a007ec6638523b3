-- How the server authenticated the user of this connection; null: it trusts whoever connects. Since PostgreSQL 16.
select system_user as method
