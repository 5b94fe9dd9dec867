-- Run by psql as the cluster's owner at every start; each step does nothing when its work is there already.
-- The daemon's role is no superuser: a superuser could read server files and run programs through SQL.
SET client_min_messages = warning;
SELECT 'CREATE ROLE lumilio LOGIN CREATEDB' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'lumilio') \gexec
SELECT 'CREATE DATABASE lumilio OWNER lumilio' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'lumilio') \gexec
\if :vector_runs
    -- Only a superuser may create pgvector, so databases made later by the daemon's role get it from template1.
    \connect template1
    SET client_min_messages = warning;
    CREATE EXTENSION IF NOT EXISTS vector;
    ALTER EXTENSION vector UPDATE;
    \connect lumilio
    SET client_min_messages = warning;
    CREATE EXTENSION IF NOT EXISTS vector;
    ALTER EXTENSION vector UPDATE;
\endif
