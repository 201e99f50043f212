SELECT crystal.i_inspections.inspectid
FROM crystal.i_inspections
WHERE crystal.i_inspections.inspectid <= 9223372036854775807 ORDER BY crystal.i_inspections.inspectid DESC
 FETCH FIRST 21 ROWS ONLY
-- before Oracle 12:
SELECT anon_1.inspectid
FROM (SELECT crystal.i_inspections.inspectid AS inspectid
FROM crystal.i_inspections
WHERE crystal.i_inspections.inspectid <= 9223372036854775807 ORDER BY crystal.i_inspections.inspectid DESC) anon_1
WHERE ROWNUM <= 21;

