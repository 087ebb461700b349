-- The application's tables.
PRAGMA journal_mode = WAL;
CREATE TABLE payment (person TEXT NOT NULL, number INTEGER NOT NULL, amount TEXT, PRIMARY KEY (person, number)) WITHOUT ROWID;

-- What create installs.
BEGIN IMMEDIATE;
CREATE TABLE govbridge_source (format INTEGER, system TEXT, capture INTEGER, since INTEGER, acknowledged INTEGER, claim BLOB);
CREATE TABLE govbridge_layout (layout INTEGER PRIMARY KEY, name TEXT, current INTEGER);
CREATE TABLE govbridge_column (layout INTEGER, place INTEGER, name TEXT, is_key INTEGER, PRIMARY KEY (layout, place)) WITHOUT ROWID;
CREATE TABLE govbridge_changelog (id INTEGER PRIMARY KEY AUTOINCREMENT, layout INTEGER, operation INTEGER);
CREATE TABLE govbridge_commit (id INTEGER PRIMARY KEY AUTOINCREMENT, upto INTEGER, at INTEGER, nonce BLOB);
CREATE INDEX govbridge_commit_upto ON govbridge_commit (upto);
CREATE TABLE govbridge_replaced (id INTEGER PRIMARY KEY, layout INTEGER);
CREATE TRIGGER govbridge_commit_close AFTER INSERT ON govbridge_commit BEGIN
  UPDATE govbridge_commit
     SET upto = coalesce((SELECT max(id) FROM govbridge_changelog), 0),
         at = CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER) * 1000,
         nonce = randomblob(8)
   WHERE id = NEW.id;
END;
INSERT INTO govbridge_source (format, system, capture, since, acknowledged) VALUES (1, '5a1f0c52-6f0e-4d3b-9a53-0d1c7be0c1aa', 1, 0, 0);
INSERT INTO govbridge_layout (layout, name, current) VALUES (1, 'payment', 1);
INSERT INTO govbridge_column (layout, place, name, is_key) VALUES (1, 0, 'person', 1);
INSERT INTO govbridge_column (layout, place, name, is_key) VALUES (1, 1, 'number', 1);
INSERT INTO govbridge_column (layout, place, name, is_key) VALUES (1, 2, 'amount', 0);
ALTER TABLE govbridge_changelog ADD COLUMN v0;
ALTER TABLE govbridge_changelog ADD COLUMN v1;
ALTER TABLE govbridge_changelog ADD COLUMN v2;
ALTER TABLE govbridge_changelog ADD COLUMN v3;
ALTER TABLE govbridge_changelog ADD COLUMN v4;
ALTER TABLE govbridge_changelog ADD COLUMN v5;
ALTER TABLE govbridge_replaced ADD COLUMN v0;
ALTER TABLE govbridge_replaced ADD COLUMN v1;
ALTER TABLE govbridge_replaced ADD COLUMN v2;
CREATE TRIGGER govbridge_1_before_insert BEFORE INSERT ON "payment" BEGIN
  DELETE FROM govbridge_replaced WHERE layout = 1 AND id <= (SELECT id FROM govbridge_replaced WHERE layout = 1 ORDER BY id DESC LIMIT 1 OFFSET 10);
  INSERT INTO govbridge_replaced (layout, v0, v1, v2)
    SELECT 1, g."person", g."number", g."amount" FROM "payment" AS g
     WHERE g."person" COLLATE "BINARY" = NEW."person" AND g."number" COLLATE "BINARY" = NEW."number"
       AND NOT EXISTS (SELECT 1 FROM govbridge_replaced AS r WHERE r.layout = 1 AND g."person" COLLATE "BINARY" IS r.v0 AND g."number" COLLATE "BINARY" IS r.v1);
END;
CREATE TRIGGER govbridge_1_before_update BEFORE UPDATE ON "payment"
  WHEN NEW."person" IS NOT OLD."person" OR NEW."number" IS NOT OLD."number" BEGIN
  DELETE FROM govbridge_replaced WHERE layout = 1 AND id <= (SELECT id FROM govbridge_replaced WHERE layout = 1 ORDER BY id DESC LIMIT 1 OFFSET 10);
  INSERT INTO govbridge_replaced (layout, v0, v1, v2)
    SELECT 1, g."person", g."number", g."amount" FROM "payment" AS g
     WHERE g."person" COLLATE "BINARY" = NEW."person" AND g."number" COLLATE "BINARY" = NEW."number" AND NOT (g."person" COLLATE "BINARY" IS OLD."person" AND g."number" COLLATE "BINARY" IS OLD."number")
       AND NOT EXISTS (SELECT 1 FROM govbridge_replaced AS r WHERE r.layout = 1 AND g."person" COLLATE "BINARY" IS r.v0 AND g."number" COLLATE "BINARY" IS r.v1);
END;
CREATE TRIGGER govbridge_1_insert AFTER INSERT ON "payment" BEGIN
  INSERT INTO govbridge_changelog (layout, operation, v0, v1, v2)
    SELECT 1, 3, r.v0, r.v1, r.v2 FROM govbridge_replaced AS r
     WHERE r.layout = 1 AND ((NEW."person" COLLATE "BINARY" IS r.v0 AND NEW."number" COLLATE "BINARY" IS r.v1) OR NOT EXISTS (SELECT 1 FROM "payment" AS g WHERE g."person" COLLATE "BINARY" IS r.v0 AND g."number" COLLATE "BINARY" IS r.v1));
  DELETE FROM govbridge_replaced WHERE id IN (SELECT r.id FROM govbridge_replaced AS r WHERE r.layout = 1 AND ((NEW."person" COLLATE "BINARY" IS r.v0 AND NEW."number" COLLATE "BINARY" IS r.v1) OR NOT EXISTS (SELECT 1 FROM "payment" AS g WHERE g."person" COLLATE "BINARY" IS r.v0 AND g."number" COLLATE "BINARY" IS r.v1)));
  INSERT INTO govbridge_changelog (layout, operation, v0, v1, v2)
    VALUES (1, CASE WHEN EXISTS (SELECT 1 FROM "payment" AS g WHERE g."person" COLLATE "BINARY" IS NEW."person" AND g."number" COLLATE "BINARY" IS NEW."number" AND g."person" IS NEW."person" AND g."number" IS NEW."number" AND g."amount" IS NEW."amount") THEN 1 ELSE -1 END, NEW."person", NEW."number", NEW."amount");
END;
CREATE TRIGGER govbridge_1_update AFTER UPDATE ON "payment" BEGIN
  DELETE FROM govbridge_replaced WHERE id IN (SELECT r.id FROM govbridge_replaced AS r WHERE r.layout = 1 AND OLD."person" COLLATE "BINARY" IS r.v0 AND OLD."number" COLLATE "BINARY" IS r.v1);
  INSERT INTO govbridge_changelog (layout, operation, v0, v1, v2)
    SELECT 1, 3, r.v0, r.v1, r.v2 FROM govbridge_replaced AS r
     WHERE r.layout = 1 AND ((NEW."person" COLLATE "BINARY" IS r.v0 AND NEW."number" COLLATE "BINARY" IS r.v1) OR NOT EXISTS (SELECT 1 FROM "payment" AS g WHERE g."person" COLLATE "BINARY" IS r.v0 AND g."number" COLLATE "BINARY" IS r.v1));
  DELETE FROM govbridge_replaced WHERE id IN (SELECT r.id FROM govbridge_replaced AS r WHERE r.layout = 1 AND ((NEW."person" COLLATE "BINARY" IS r.v0 AND NEW."number" COLLATE "BINARY" IS r.v1) OR NOT EXISTS (SELECT 1 FROM "payment" AS g WHERE g."person" COLLATE "BINARY" IS r.v0 AND g."number" COLLATE "BINARY" IS r.v1)));
  INSERT INTO govbridge_changelog (layout, operation, v0, v1, v2, v3, v4, v5)
    VALUES (1, CASE WHEN EXISTS (SELECT 1 FROM "payment" AS g WHERE g."person" COLLATE "BINARY" IS NEW."person" AND g."number" COLLATE "BINARY" IS NEW."number" AND g."person" IS NEW."person" AND g."number" IS NEW."number" AND g."amount" IS NEW."amount") THEN 2 ELSE -2 END, OLD."person", OLD."number", OLD."amount", NEW."person", NEW."number", NEW."amount");
END;
CREATE TRIGGER govbridge_1_delete AFTER DELETE ON "payment" BEGIN
  DELETE FROM govbridge_replaced WHERE id IN (SELECT r.id FROM govbridge_replaced AS r WHERE r.layout = 1 AND OLD."person" COLLATE "BINARY" IS r.v0 AND OLD."number" COLLATE "BINARY" IS r.v1);
  INSERT INTO govbridge_changelog (layout, operation, v0, v1, v2)
    VALUES (1, CASE WHEN EXISTS (SELECT 1 FROM "payment" AS g WHERE g."person" COLLATE "BINARY" IS OLD."person" AND g."number" COLLATE "BINARY" IS OLD."number") THEN -3 ELSE 3 END, OLD."person", OLD."number", OLD."amount");
END;
COMMIT;

-- What the application, or somebody's hand, then does.
BEGIN;
INSERT INTO payment VALUES ('p', 1, 'x');
UPDATE payment SET number = 2;
UPDATE payment SET amount = 'y';
INSERT INTO govbridge_commit DEFAULT VALUES;
COMMIT;
UPDATE govbridge_commit SET at = 1800000000000000 + id * 1000, nonce = CASE id WHEN 1 THEN x'0101010101010101' WHEN 2 THEN x'0202020202020202' ELSE x'0303030303030303' END;
