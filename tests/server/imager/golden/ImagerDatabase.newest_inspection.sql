SELECT (SELECT min(crystal.i_inspections.inspectdate) AS min_1
FROM crystal.i_inspections) AS first, (SELECT max(crystal.i_inspections.inspectdate) AS max_1
FROM crystal.i_inspections) AS last FROM DUAL;

SELECT crystal.i_inspections.inspectid, crystal.i_inspections.barcodeid, crystal.i_inspections.inspectnumber, crystal.i_inspections.inspectdate, crystal.i_inspections.i_row, crystal.i_inspections.col, crystal.i_inspections.subwell, crystal.i_images.imagename
FROM crystal.i_inspections JOIN crystal.i_images ON crystal.i_inspections.inspectid = crystal.i_images.inspectid
WHERE (rtrim(crystal.i_images.imagename) LIKE :rtrim_1 ESCAPE '\' OR rtrim(crystal.i_images.imagename) LIKE :rtrim_2 ESCAPE '\') AND rtrim(crystal.i_images.imagename) NOT LIKE :rtrim_3 ESCAPE '\' AND crystal.i_inspections.inspectdate >= :inspectdate_1 AND (crystal.i_inspections.inspectdate > :inspectdate_2 OR crystal.i_inspections.inspectdate = :inspectdate_3 AND crystal.i_inspections.inspectid > :inspectid_1) AND crystal.i_inspections.inspectdate <= :inspectdate_4 AND (crystal.i_inspections.inspectdate < :inspectdate_5 OR crystal.i_inspections.inspectdate = :inspectdate_6 AND crystal.i_inspections.inspectid < :inspectid_2) ORDER BY crystal.i_inspections.inspectdate DESC, crystal.i_inspections.inspectid DESC, crystal.i_images.imagename
 FETCH FIRST 1000 ROWS ONLY
-- before Oracle 12:
SELECT anon_1.inspectid, anon_1.barcodeid, anon_1.inspectnumber, anon_1.inspectdate, anon_1.i_row, anon_1.col, anon_1.subwell, anon_1.imagename
FROM (SELECT crystal.i_inspections.inspectid AS inspectid, crystal.i_inspections.barcodeid AS barcodeid, crystal.i_inspections.inspectnumber AS inspectnumber, crystal.i_inspections.inspectdate AS inspectdate, crystal.i_inspections.i_row AS i_row, crystal.i_inspections.col AS col, crystal.i_inspections.subwell AS subwell, crystal.i_images.imagename AS imagename
FROM crystal.i_inspections JOIN crystal.i_images ON crystal.i_inspections.inspectid = crystal.i_images.inspectid
WHERE (rtrim(crystal.i_images.imagename) LIKE :rtrim_1 ESCAPE '\' OR rtrim(crystal.i_images.imagename) LIKE :rtrim_2 ESCAPE '\') AND rtrim(crystal.i_images.imagename) NOT LIKE :rtrim_3 ESCAPE '\' AND crystal.i_inspections.inspectdate >= :inspectdate_1 AND (crystal.i_inspections.inspectdate > :inspectdate_2 OR crystal.i_inspections.inspectdate = :inspectdate_3 AND crystal.i_inspections.inspectid > :inspectid_1) AND crystal.i_inspections.inspectdate <= :inspectdate_4 AND (crystal.i_inspections.inspectdate < :inspectdate_5 OR crystal.i_inspections.inspectdate = :inspectdate_6 AND crystal.i_inspections.inspectid < :inspectid_2) ORDER BY crystal.i_inspections.inspectdate DESC, crystal.i_inspections.inspectid DESC, crystal.i_images.imagename) anon_1
WHERE ROWNUM <= 1000;

