-- The application's tables.
PRAGMA journal_mode = WAL;
CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, note TEXT);

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
INSERT INTO govbridge_layout (layout, name, current) VALUES (1, 'person', 1);
INSERT INTO govbridge_column (layout, place, name, is_key) VALUES (1, 0, 'id', 1);
INSERT INTO govbridge_column (layout, place, name, is_key) VALUES (1, 1, 'name', 0);
ALTER TABLE govbridge_changelog ADD COLUMN v0;
ALTER TABLE govbridge_changelog ADD COLUMN v1;
ALTER TABLE govbridge_changelog ADD COLUMN v2;
ALTER TABLE govbridge_changelog ADD COLUMN v3;
ALTER TABLE govbridge_replaced ADD COLUMN v0;
ALTER TABLE govbridge_replaced ADD COLUMN v1;
CREATE TRIGGER govbridge_1_before_insert BEFORE INSERT ON "person" BEGIN
  DELETE FROM govbridge_replaced WHERE layout = 1 AND id <= (SELECT id FROM govbridge_replaced WHERE layout = 1 ORDER BY id DESC LIMIT 1 OFFSET 10);
  INSERT INTO govbridge_replaced (layout, v0, v1)
    SELECT 1, g."id", g."name" FROM "person" AS g
     WHERE g."id" COLLATE "BINARY" = NEW."id"
       AND NOT EXISTS (SELECT 1 FROM govbridge_replaced AS r WHERE r.layout = 1 AND g."id" COLLATE "BINARY" IS r.v0);
END;
CREATE TRIGGER govbridge_1_before_update BEFORE UPDATE ON "person"
  WHEN NEW."id" IS NOT OLD."id" BEGIN
  DELETE FROM govbridge_replaced WHERE layout = 1 AND id <= (SELECT id FROM govbridge_replaced WHERE layout = 1 ORDER BY id DESC LIMIT 1 OFFSET 10);
  INSERT INTO govbridge_replaced (layout, v0, v1)
    SELECT 1, g."id", g."name" FROM "person" AS g
     WHERE g."id" COLLATE "BINARY" = NEW."id" AND NOT (g."id" COLLATE "BINARY" IS OLD."id")
       AND NOT EXISTS (SELECT 1 FROM govbridge_replaced AS r WHERE r.layout = 1 AND g."id" COLLATE "BINARY" IS r.v0);
END;
CREATE TRIGGER govbridge_1_insert AFTER INSERT ON "person" BEGIN
  INSERT INTO govbridge_changelog (layout, operation, v0, v1)
    SELECT 1, 3, r.v0, r.v1 FROM govbridge_replaced AS r
     WHERE r.layout = 1 AND ((NEW."id" COLLATE "BINARY" IS r.v0) OR NOT EXISTS (SELECT 1 FROM "person" AS g WHERE g."id" COLLATE "BINARY" IS r.v0));
  DELETE FROM govbridge_replaced WHERE id IN (SELECT r.id FROM govbridge_replaced AS r WHERE r.layout = 1 AND ((NEW."id" COLLATE "BINARY" IS r.v0) OR NOT EXISTS (SELECT 1 FROM "person" AS g WHERE g."id" COLLATE "BINARY" IS r.v0)));
  INSERT INTO govbridge_changelog (layout, operation, v0, v1)
    VALUES (1, CASE WHEN EXISTS (SELECT 1 FROM "person" AS g WHERE g."id" COLLATE "BINARY" IS NEW."id" AND g."id" IS NEW."id" AND g."name" IS NEW."name") THEN 1 ELSE -1 END, NEW."id", NEW."name");
END;
CREATE TRIGGER govbridge_1_update AFTER UPDATE ON "person" BEGIN
  DELETE FROM govbridge_replaced WHERE id IN (SELECT r.id FROM govbridge_replaced AS r WHERE r.layout = 1 AND OLD."id" COLLATE "BINARY" IS r.v0);
  INSERT INTO govbridge_changelog (layout, operation, v0, v1)
    SELECT 1, 3, r.v0, r.v1 FROM govbridge_replaced AS r
     WHERE r.layout = 1 AND ((NEW."id" COLLATE "BINARY" IS r.v0) OR NOT EXISTS (SELECT 1 FROM "person" AS g WHERE g."id" COLLATE "BINARY" IS r.v0));
  DELETE FROM govbridge_replaced WHERE id IN (SELECT r.id FROM govbridge_replaced AS r WHERE r.layout = 1 AND ((NEW."id" COLLATE "BINARY" IS r.v0) OR NOT EXISTS (SELECT 1 FROM "person" AS g WHERE g."id" COLLATE "BINARY" IS r.v0)));
  INSERT INTO govbridge_changelog (layout, operation, v0, v1, v2, v3)
    VALUES (1, CASE WHEN EXISTS (SELECT 1 FROM "person" AS g WHERE g."id" COLLATE "BINARY" IS NEW."id" AND g."id" IS NEW."id" AND g."name" IS NEW."name") THEN 2 ELSE -2 END, OLD."id", OLD."name", NEW."id", NEW."name");
END;
CREATE TRIGGER govbridge_1_delete AFTER DELETE ON "person" BEGIN
  DELETE FROM govbridge_replaced WHERE id IN (SELECT r.id FROM govbridge_replaced AS r WHERE r.layout = 1 AND OLD."id" COLLATE "BINARY" IS r.v0);
  INSERT INTO govbridge_changelog (layout, operation, v0, v1)
    VALUES (1, CASE WHEN EXISTS (SELECT 1 FROM "person" AS g WHERE g."id" COLLATE "BINARY" IS OLD."id") THEN -3 ELSE 3 END, OLD."id", OLD."name");
END;
COMMIT;

-- What the application, or somebody's hand, then does.
INSERT INTO person VALUES (1, 'a', NULL), (2, 'b', NULL), (3, 'c', NULL);
INSERT INTO govbridge_commit DEFAULT VALUES;
UPDATE govbridge_commit SET at = 1800000000000000 + id * 1000, nonce = CASE id WHEN 1 THEN x'0101010101010101' WHEN 2 THEN x'0202020202020202' ELSE x'0303030303030303' END;
UPDATE govbridge_source SET acknowledged = 9;
