SELECT count(*) AS count_1
FROM crystal.i_inspections JOIN crystal.i_images ON crystal.i_inspections.inspectid = crystal.i_images.inspectid
WHERE (crystal.i_images.imagename LIKE :imagename_1 ESCAPE '\' OR crystal.i_images.imagename LIKE :imagename_2 ESCAPE '\') AND crystal.i_images.imagename NOT LIKE :imagename_3 ESCAPE '\' AND crystal.i_inspections.inspectdate <= :inspectdate_1 AND (crystal.i_inspections.inspectdate < :inspectdate_2 OR crystal.i_inspections.inspectdate = :inspectdate_3 AND crystal.i_inspections.inspectid < :inspectid_1);

